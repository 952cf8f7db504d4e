"""A bulk job: all items of a catalogue to their records. It may be killed at any moment and is then started again.

Nothing is kept but what the store holds. An item is done when its entry is there; one that failed is in the store too,
with a typed reason, and is tried again by the next run.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal, TypeVar

from aircheck_client.catalogue.concurrency import AdaptiveLimit, Bounds
from aircheck_client.catalogue.items import BadItem, Shard, SourceError
from aircheck_client.catalogue.records import Failure, Item, RecordStore, StoreError, now
from aircheck_client.catalogue.scanning import BAD_ITEM, Done, Reason, Scanner, reason_of
from aircheck_client.errors import AuthenticationError, DeadlineError, UnavailableError

_T = TypeVar("_T")

BATCH = 64  # items read at a time, on a thread
AHEAD = 2  # items at least that are fetched and hashed while others are scanned
BUGS = 3  # of ours, after which it is no item's fault


class JobError(Exception):
    """The job cannot go on, whatever the items are."""


@dataclass(frozen=True)
class JobOptions:
    """How a job goes about its items.

    attempts : at one item in a run, where its failure may pass
    first_wait_s, longest_wait_s : between two attempts; the wait doubles, and a random part of it is left out
    patience_s : without any answer while servers are unavailable, after which the job gives up
    limit : most items to scan; None: all
    force : also those that are done
    """

    bounds: Bounds = field(default_factory=Bounds)
    shard: Shard = field(default_factory=Shard)
    attempts: int = 4
    first_wait_s: float = 1.0
    longest_wait_s: float = 60.0
    patience_s: float = 900.0
    limit: int | None = None
    force: bool = False


@dataclass(frozen=True)
class Outcome:
    """What became of one item in a run; `done`: before it. `reason`: the typed one of a failure."""

    kind: Literal["heard", "shared", "done", "failed"]
    audio_s: float = 0.0
    reason: str = ""


@dataclass
class Tally:
    """What a run has done so far.

    done_before : items found done; shared : items whose audio was heard already, under another uri or in another run
    """

    heard: int = 0
    shared: int = 0
    done_before: int = 0
    failed: int = 0
    retries: int = 0
    audio_s: float = 0.0
    reasons: Counter[str] = field(default_factory=Counter)
    total: int | None = None
    concurrency: int = 0
    begun_s: float = field(default_factory=time.monotonic)

    def add(self, outcome: Outcome) -> None:
        self.heard += outcome.kind == "heard"
        self.shared += outcome.kind == "shared"
        self.done_before += outcome.kind == "done"
        self.failed += outcome.kind == "failed"
        self.audio_s += outcome.audio_s
        if outcome.reason:
            self.reasons[outcome.reason] += 1

    @property
    def seen(self) -> int:
        return self.heard + self.shared + self.done_before + self.failed

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self.begun_s

    @property
    def audio_s_per_s(self) -> float:
        return self.audio_s / max(self.elapsed_s, 1e-9)

    @property
    def left_s(self) -> float | None:
        """By the pace of what was heard and shared; None where that, or how many there are, is not known."""
        worked = self.heard + self.shared + self.failed
        if self.total is None or not worked:
            return None
        return max(0, self.total - self.seen) * self.elapsed_s / worked

    def line(self) -> dict[str, object]:
        """For a log."""
        left_s = self.left_s
        return {
            "at": now().isoformat(timespec="seconds"),
            "items": self.seen,
            "total": self.total,
            "heard": self.heard,
            "shared": self.shared,
            "done_before": self.done_before,
            "failed": self.failed,
            "failures": dict(self.reasons),
            "retries": self.retries,
            "audio_hours": round(self.audio_s / 3600, 4),
            "audio_s_per_s": round(self.audio_s_per_s, 2),
            "concurrency": self.concurrency,
            "left_s": None if left_s is None else round(left_s),
        }


class Job:
    """Works through items once: all of an iterator, or one by one as they are given. `tally` may be read meanwhile."""

    def __init__(self, scanner: Scanner, options: JobOptions):
        self._scanner, self._options = scanner, options
        self._store: RecordStore = scanner.store
        self._limit = AdaptiveLimit(options.bounds)
        self._running: set[asyncio.Task[Outcome]] = set()
        self._answered_at_s = time.monotonic()
        self._n_answers = 0
        self._bugs = 0
        self.tally = Tally(concurrency=self._limit.limit)

    async def run(self, items: Iterator[Item | BadItem]) -> Tally:
        """Raises JobError; SourceError where `items` cannot be read further."""
        await self.begin()
        stopped: Exception | None = None
        try:
            async with asyncio.TaskGroup() as tasks:
                try:
                    await self._start_all(wanted(items, self._options.shard), tasks)
                except SourceError as error:  # what is under way is done first
                    stopped = error
        except* JobError as errors:
            stopped = errors.exceptions[0]  # raised here, Python 3.11 before .4 would put it into a group again
        if stopped is not None:
            raise stopped
        return self.tally

    async def one(self, item: Item | BadItem) -> Outcome:
        """After `begin`, at the same time for any number of items: as many wait as `run` lets wait. Raises JobError."""
        if isinstance(item, BadItem):
            return await self._bad(item)
        if not self._options.force and await _is_done(self._scanner, item):
            return self._told(Outcome("done"))
        await self._room()
        return await self._begun(asyncio.ensure_future(self._item(item)))

    async def _start_all(self, items: Iterator[Item | BadItem], tasks: asyncio.TaskGroup) -> None:
        begun = 0
        read = with_error(items)
        while batch := await asyncio.to_thread(_batch, read):
            for item in batch:
                if isinstance(item, SourceError):
                    raise item
                if isinstance(item, BadItem):
                    await self._bad(item)
                    continue
                if not self._options.force and await _is_done(self._scanner, item):
                    self._told(Outcome("done"))
                    continue
                if begun == self._options.limit:
                    return
                begun += 1
                await self._room()
                self._begun(tasks.create_task(self._item(item)))

    async def _room(self) -> None:
        """Waits until another item may be begun."""
        while len(self._running) >= AHEAD + 2 * self._limit.limit:
            await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)

    def _begun(self, task: asyncio.Task[Outcome]) -> asyncio.Task[Outcome]:
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def _bad(self, item: BadItem) -> Outcome:
        return await self._fail(Item(id=item.id, uri=item.id), BAD_ITEM, item.reason, attempts=1)

    async def begin(self) -> None:
        """Waits until a server tells what it runs. Raises JobError."""
        wait_s, begun_s = self._options.first_wait_s, time.monotonic()
        while True:
            try:
                await self._scanner.refresh()
                return
            except AuthenticationError as error:
                raise JobError(str(error)) from None
            except (UnavailableError, DeadlineError) as error:
                if time.monotonic() - begun_s > self._options.patience_s:
                    raise JobError(f"no server for {self._options.patience_s:g} s: {error}") from None
            await asyncio.sleep(random.uniform(wait_s / 2, wait_s))
            wait_s = min(2 * wait_s, self._options.longest_wait_s)

    async def _item(self, item: Item) -> Outcome:
        """Raises JobError."""
        wait_s, attempts = self._options.first_wait_s, 0
        while True:
            answers_before = self._n_answers
            try:
                return self._count(await self._scanner.scan(item, self._limit))
            except AuthenticationError as error:
                raise JobError(str(error)) from None
            except Exception as error:
                reason, fault = reason_of(error), error
            if isinstance(fault, UnavailableError):
                self._limit.refused()
                silent_s = time.monotonic() - self._answered_at_s
                if silent_s > self._options.patience_s:
                    raise JobError(f"no server answered for {silent_s:.0f} s: {fault}")
                attempts += self._n_answers > answers_before  # while nobody is answered, it is not the item's fault
            else:
                attempts += 1
                self._bugs += reason.name == "bug"
                if reason.name == "bug" and self._bugs >= BUGS:
                    raise JobError(f"{type(fault).__name__}: {fault}") from fault
            if not reason.is_retryable or attempts >= self._options.attempts:
                return await self._fail(item, reason, str(fault), attempts)
            self.tally.retries += 1
            asked_s = getattr(fault, "retry_after_s", None) or 0.0
            await asyncio.sleep(max(asked_s, random.uniform(wait_s / 2, wait_s)))
            wait_s = min(2 * wait_s, self._options.longest_wait_s)

    def _count(self, done: Done) -> Outcome:
        self._answered_at_s = time.monotonic()
        if not done.heard:
            return self._told(Outcome("shared"))
        self._n_answers += 1
        self._limit.answered(done.took_s, done.duration_s)
        return self._told(Outcome("heard", audio_s=done.duration_s))

    def _told(self, outcome: Outcome) -> Outcome:
        self.tally.add(outcome)
        self.tally.concurrency = self._limit.limit
        return outcome

    async def _fail(self, item: Item, reason: Reason, message: str, attempts: int) -> Outcome:
        def write() -> None:
            before = self._store.failure(item.id)
            failure = Failure(
                id=item.id,
                uri=item.uri,
                reason=reason.name,
                message=message,
                is_retryable=reason.is_retryable,
                next_step=reason.next_step,
                attempts=attempts + (before.attempts if before else 0),
                failed_at=now(),
            )
            self._store.put_failure(failure)

        try:
            await asyncio.to_thread(write)
        except StoreError as error:
            raise JobError(f"failures cannot be written down: {error}") from None
        return self._told(Outcome("failed", reason=reason.name))


def write_dead_letters(store: RecordStore) -> tuple[int, str]:
    """All failures of all runs into `dead_letters.jsonl`, a line each, by id; returns how many, and where."""
    failures = sorted(store.failures, key=lambda failure: failure.id)
    text = "".join(failure.model_dump_json() + "\n" for failure in failures)
    return len(failures), store.write_text("dead_letters.jsonl", text)


def count(items: Iterator[Item | BadItem], shard: Shard, until: Callable[[], bool] = lambda: False) -> int:
    """How many items are the shard's. `until` ends it early."""
    number = 0
    for _ in wanted(items, shard):
        number += 1
        if until():
            break
    return number


async def first_left(
    scanner: Scanner, items: Iterator[Item | BadItem], options: JobOptions
) -> tuple[list[Item | BadItem | SourceError], int]:
    """What `Job.run` would begin under `options.limit`, and how many items it would find done on the way."""
    left: list[Item | BadItem | SourceError] = []
    done = begun = 0
    read = with_error(wanted(items, options.shard))
    while batch := await asyncio.to_thread(_batch, read):
        for item in batch:
            if isinstance(item, Item):
                if not options.force and await _is_done(scanner, item):
                    done += 1
                    continue
                if begun == options.limit:
                    return left, done
                begun += 1
            left.append(item)
    return left, done


async def count_left(scanner: Scanner, items: Iterator[Item | BadItem], shard: Shard) -> tuple[int, int]:
    """How many items are left to do, and how many there are; no audio is touched."""
    left = every = 0
    read = wanted(items, shard)
    while batch := await asyncio.to_thread(_batch, read):
        for item in batch:
            every += 1
            left += isinstance(item, BadItem) or await scanner.done(item) is None
    return left, every


async def _is_done(scanner: Scanner, item: Item) -> bool:
    try:
        return await scanner.done(item) is not None
    except Exception:  # the same will happen to the item itself, where it is told
        return False


def wanted(items: Iterator[Item | BadItem], shard: Shard) -> Iterator[Item | BadItem]:
    """The items of a shard."""
    return (item for item in items if shard.holds(item.id))


def with_error(items: Iterator[Item | BadItem]) -> Iterator[Item | BadItem | SourceError]:
    """Items, and last the error that ends them, so that those before it are not lost with their batch."""
    try:
        yield from items
    except SourceError as error:
        yield error


def _batch(items: Iterator[_T]) -> list[_T]:
    return list(islice(items, BATCH))
