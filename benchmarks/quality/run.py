"""Runs the items of a manifest through a scorer, several at a time, and keeps every result as it comes."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, as_completed, wait
from typing import Protocol

from benchmarks.quality.manifest import Item, Manifest
from benchmarks.quality.results import Conditions, Result, ResultLog


class ScorerGoneError(RuntimeError):
    """The scorer cannot score anything any more (a server that stopped); the run ends, and can be taken up again."""


class ItemError(ValueError):
    """One item cannot be scored; the message says why and what to do."""


class Scorer(Protocol):
    """Makes something of one item. `score` raises ItemError, and ScorerGoneError when no other item could do better."""

    @property
    def conditions(self) -> Conditions: ...

    @property
    def in_flight(self) -> int:
        """How many items may be scored at a time."""
        ...

    @property
    def hears(self) -> bool:
        """Whether it scores the audio itself, and not its reference transcript."""
        ...

    def takes(self, item: Item) -> bool:
        """Whether this scorer has anything to say about the item."""
        ...

    def score(self, item: Item, audio: bytes | None) -> Result: ...


def run(
    manifest: Manifest, scorer: Scorer, log: ResultLog, on_result: Callable[[Result | None], None]
) -> tuple[Result, ...]:
    """The results of all items that the scorer takes, in the manifest's order; finished ones are not scored again.

    `on_result` hears of each item as it comes; None for one that an earlier try finished.
    An item that fails is a result with an error. Raises ScorerGoneError; what was finished by then is kept.
    """
    items = [item for item in manifest.items if scorer.takes(item)]
    with ThreadPoolExecutor(scorer.in_flight, thread_name_prefix="item") as pool:
        waiting: set[Future[Result | None]] = set()
        try:
            for item in items:
                if len(waiting) >= 2 * scorer.in_flight:
                    done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    _keep(done, log, on_result)
                waiting.add(pool.submit(_scored, manifest, item, scorer, log))
            _keep(as_completed(waiting), log, on_result)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return log.close(items)


def _keep(done: Iterable[Future[Result | None]], log: ResultLog, on_result: Callable[[Result | None], None]) -> None:
    for future in done:
        result = future.result()
        if result is not None:
            log.add(result)
        on_result(result)


def _scored(manifest: Manifest, item: Item, scorer: Scorer, log: ResultLog) -> Result | None:
    """None for an item that an earlier try finished."""
    started = time.monotonic()
    digest = ""
    try:
        audio = manifest.audio_path(item).read_bytes() if item.audio is not None and scorer.hears else None
        digest = hashlib.sha256(audio or (item.text or item.transcript or "").encode()).hexdigest()
        if log.finished(item, digest):
            return None
        result = scorer.score(item, audio)
    except OSError as error:
        fault = f"{manifest.audio_path(item)}: {error.strerror or error}; restore the file, or take the item out"
        return Result(item=item, source_sha256=digest, error=fault)
    except ItemError as error:
        return Result(item=item, source_sha256=digest, error=str(error))
    return result.model_copy(update={"source_sha256": digest, "took_s": round(time.monotonic() - started, 3)})
