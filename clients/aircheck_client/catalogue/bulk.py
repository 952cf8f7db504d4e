"""What `aircheck bulk SOURCE` does."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import IO, Literal

from aircheck_client.catalogue.collect import collect
from aircheck_client.catalogue.concurrency import Bounds
from aircheck_client.catalogue.feed import feed_items, is_feed
from aircheck_client.catalogue.items import BadItem, Shard, SourceError, folder_items, is_folder, manifest_items
from aircheck_client.catalogue.job import (
    Job,
    JobError,
    JobOptions,
    Outcome,
    Tally,
    count,
    count_left,
    first_left,
    write_dead_letters,
)
from aircheck_client.catalogue.opening import ScannerOptions
from aircheck_client.catalogue.ray_cluster import cluster
from aircheck_client.catalogue.records import Item, RecordStore, StoreError
from aircheck_client.catalogue.scanning import Scanner
from aircheck_client.command import context_of
from aircheck_client.errors import AircheckError
from aircheck_client.output import write
from aircheck_client.progress import reporter
from aircheck_client.schema import Context, ExitCode, clock

Items = Callable[[], Iterator[Item | BadItem]]

LOG_EVERY_S = 60.0
_SHOW_EVERY_S = 0.5
_FIRST_PARALLEL = 4


@dataclass(frozen=True)
class Bulk:
    """The command's options; see its help. `workers`: of Ray; None: the command scans by itself."""

    source: str
    scanner: ScannerOptions
    context: Mapping[str, str]
    shard: str
    limit: int | None
    parallel: int
    attempts: int
    patience_s: float
    log: Path | None
    since: datetime | None = None
    engine: Literal["local", "ray"] = "local"
    address: str | None = None
    workers: int | None = None

    def run(self) -> ExitCode:
        """Scans what is not done. Never raises for an item, a server or a store."""
        return self._guarded(self._on_ray if self.engine == "ray" else lambda: asyncio.run(self._run()))

    def ping(self) -> ExitCode:
        """Prints how many items are left."""
        return self._guarded(lambda: asyncio.run(self._ping()))

    def _guarded(self, work: Callable[[], ExitCode]) -> ExitCode:
        told = reporter(sys.stderr)
        try:
            return work()
        except (AircheckError, JobError, StoreError, OSError, ValueError) as error:
            told.error(str(error))
        except (KeyboardInterrupt, asyncio.CancelledError):
            told.error("interrupted; start it again and it goes on where it was")
        return ExitCode.ERROR

    async def _run(self) -> ExitCode:
        _end_on_sigterm()
        context, options = context_of(self.context), self._options()
        async with self.scanner.scanner() as scanner:
            items = await self._source(context, scanner)
            job = Job(scanner, options)
            with self._watched(job.tally, items, options):
                await job.run(items())
        return self._ended(job.tally)

    def _on_ray(self) -> ExitCode:
        context, options = context_of(self.context), self._options()
        with cluster(self.address, self.workers) as workers:
            from aircheck_client.catalogue.ray_engine import RayJob

            signal.signal(signal.SIGTERM, signal.default_int_handler)  # Ray has a way of its own
            job = RayJob(self.scanner, options, workers)
            items = asyncio.run(self._begin_on_ray(job.tally, context, options))
            with self._watched(job.tally, items, options):
                job.run(items)
        return self._ended(job.tally)

    async def _begin_on_ray(self, tally: Tally, context: Context, options: JobOptions) -> Items:
        """What the actors are to scan. What is wrong with the servers is told here, once."""
        async with self.scanner.scanner() as scanner:
            await Job(scanner, options).begin()
            items = await self._source(context, scanner)
            if options.limit is None:
                return items
            first, done = await first_left(scanner, items(), options)  # of all actors together
        for _ in range(done):
            tally.add(Outcome("done"))
        return partial(_again, first)

    def _ended(self, tally: Tally) -> ExitCode:
        failures, where = write_dead_letters(RecordStore(self.scanner.out))
        write(
            f"{tally.heard} heard, {tally.shared} of audio that was heard before, {tally.done_before} done before, "
            f"{tally.failed} failed; {tally.audio_s / 3600:.2f} h of audio in {clock(tally.elapsed_s)}, "
            f"{tally.audio_s_per_s:.1f} s a second\n"
        )
        if failures:
            write(f"{failures} items failed in this run or before: {where}\n")
        return ExitCode.FOUND if tally.failed else ExitCode.CLEAN

    @contextmanager
    def _watched(self, tally: Tally, items: Items, options: JobOptions) -> Iterator[None]:
        with _counted(tally, items(), options.shard), _told(tally, self.log):
            yield

    async def _ping(self) -> ExitCode:
        context, options = context_of(self.context), self._options()
        async with self.scanner.scanner() as scanner:
            await scanner.refresh()
            left, every = await count_left(scanner, (await self._source(context, scanner))(), options.shard)
        write(f"{left} of {every} items are left\n")
        return ExitCode.CLEAN

    def _options(self) -> JobOptions:
        """Raises ValueError."""
        return JobOptions(
            bounds=Bounds(1, min(_FIRST_PARALLEL, self.parallel), self.parallel),
            shard=Shard.parse(self.shard),
            attempts=self.attempts,
            patience_s=self.patience_s,
            limit=self.limit,
            force=self.scanner.force,
        )

    async def _source(self, context: Context, scanner: Scanner) -> Items:
        """Reads the items, as often as it is called; a feed is fetched once."""
        if is_feed(self.source):
            fetched = await feed_items(self.source, context, scanner.store, scanner.sources.http, self.since)
            return partial(iter, fetched)
        return partial(folder_items if is_folder(self.source) else manifest_items, self.source, context)


def _again(items: Sequence[Item | BadItem | SourceError]) -> Iterator[Item | BadItem]:
    """What was read, with the error that ended it."""
    for item in items:
        if isinstance(item, SourceError):
            raise item
        yield item


def collect_tables(url: str, with_vtt: bool) -> ExitCode:
    """What `aircheck bulk collect` does. Never raises for a store."""
    told = reporter(sys.stderr)
    try:
        made = collect(RecordStore(url), with_vtt)
    except (AircheckError, StoreError, OSError) as error:
        told.error(str(error))
        return ExitCode.ERROR
    for name, rows in made.rows.items():
        write(f"{rows:10} rows  {made.url}/{name}\n")
    if made.undeclared or made.overdeclared:
        write(
            f"itunes:explicit and what was found differ: {made.undeclared} items are explicit and say that they are "
            f"not, {made.overdeclared} say that they are and nothing was found\n"
        )
    if made.lost:
        told.error(f"{made.lost} items have no record that can be read; run aircheck bulk again")
    return ExitCode.CLEAN


def _end_on_sigterm() -> None:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)


@contextmanager
def _counted(tally: Tally, items: Iterator[Item | BadItem], shard: Shard) -> Iterator[None]:
    """Learns how many items there are, beside the work, for the time that is left."""
    is_over = threading.Event()

    def learn() -> None:
        try:
            number = count(items, shard, is_over.is_set)
        except (SourceError, StoreError):
            return  # told by the job itself
        if not is_over.is_set():
            tally.total = number

    thread = threading.Thread(target=learn, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()


@contextmanager
def _told(tally: Tally, log: Path | None) -> Iterator[None]:
    """A live display on a terminal, and JSON lines in the log (on standard error where there is neither)."""
    is_over = threading.Event()
    is_live = sys.stderr is not None and sys.stderr.isatty()
    file = log.open("a", encoding="utf-8") if log else None
    threads = []
    lines: IO[str] | None = file or (None if is_live else sys.stderr)
    if lines is not None:
        threads.append(threading.Thread(target=_log, args=(tally, lines, is_over), daemon=True))
    if is_live:
        threads.append(threading.Thread(target=_show, args=(tally, is_over), daemon=True))
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
        if file:
            file.close()


def _log(tally: Tally, file: IO[str], is_over: threading.Event) -> None:
    next_s = time.monotonic() + LOG_EVERY_S
    while True:
        was_over = is_over.wait(max(0.0, next_s - time.monotonic()))
        next_s += LOG_EVERY_S
        try:
            file.write(json.dumps(tally.line()) + "\n")
            file.flush()
        except OSError:
            return  # a full disk stops the log, not the job
        if was_over:
            return


def _show(tally: Tally, is_over: threading.Event) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (BarColumn(bar_width=12), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(file=sys.stderr), transient=True) as bar:
        task = bar.add_task("", total=None)
        while not is_over.wait(_SHOW_EVERY_S):
            left_s = tally.left_s
            text = (
                f"{tally.audio_s / 3600:.2f} h of audio, {tally.audio_s_per_s:.1f} s a second, {tally.failed} failed, "
                f"{tally.concurrency} at a time" + ("" if left_s is None else f", {clock(left_s)} left")
            )
            bar.update(task, description=text, completed=tally.seen, total=tally.total)
