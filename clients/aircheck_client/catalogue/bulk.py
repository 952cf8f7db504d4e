"""What `aircheck bulk SOURCE` does."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from aircheck_client.aio import AsyncAircheckClient
from aircheck_client.catalogue.collect import collect
from aircheck_client.catalogue.concurrency import Bounds
from aircheck_client.catalogue.feed import feed_items, is_feed
from aircheck_client.catalogue.items import BadItem, Shard, SourceError, folder_items, is_folder, manifest_items
from aircheck_client.catalogue.job import Job, JobError, JobOptions, Tally, count, count_left, write_dead_letters
from aircheck_client.catalogue.records import Item, RecordStore, StoreError
from aircheck_client.catalogue.scanning import Scanner
from aircheck_client.catalogue.sources import Sources
from aircheck_client.command import connection_of, context_of
from aircheck_client.connection import Retry
from aircheck_client.errors import AircheckError
from aircheck_client.output import write
from aircheck_client.progress import reporter
from aircheck_client.schema import Context, ExitCode, clock

LOG_EVERY_S = 60.0
_SHOW_EVERY_S = 0.5
_FIRST_PARALLEL = 4


@dataclass(frozen=True)
class Bulk:
    """The command's options; see its help. `server`: what `connection_of` takes."""

    source: str
    out: str
    server: tuple[str, bool, tuple[Path | None, Path | None, Path | None], Path | None]
    context: Mapping[str, str]
    shard: str
    limit: int | None
    force: bool
    parallel: int
    attempts: int
    patience_s: float
    timeout_s: float | None
    log: Path | None
    since: datetime | None = None
    allow_private: bool = False

    def run(self) -> ExitCode:
        """Scans what is not done. Never raises for an item, a server or a store."""
        return self._guarded(self._run)

    def ping(self) -> ExitCode:
        """Prints how many items are left."""
        return self._guarded(self._ping)

    def _guarded(self, work: Any) -> ExitCode:
        told = reporter(sys.stderr)
        try:
            code: ExitCode = asyncio.run(work())
            return code
        except (AircheckError, JobError, StoreError, OSError, ValueError) as error:
            told.error(str(error))
        except (KeyboardInterrupt, asyncio.CancelledError):
            told.error("interrupted; start it again and it goes on where it was")
        return ExitCode.ERROR

    async def _run(self) -> ExitCode:
        _end_on_sigterm()
        async with AsyncExitStack() as stack:
            scanner, context, shard = await self._begin(stack)
            options = JobOptions(
                bounds=Bounds(1, min(_FIRST_PARALLEL, self.parallel), self.parallel),
                shard=shard,
                attempts=self.attempts,
                patience_s=self.patience_s,
                limit=self.limit,
                force=self.force,
            )
            items = await self._source(context, scanner)
            job = Job(scanner, options)
            with _counted(job.tally, items(), shard), _told(job.tally, self.log):
                await job.run(items())
            failures, where = await asyncio.to_thread(write_dead_letters, scanner.store)
        tally = job.tally
        write(
            f"{tally.heard} heard, {tally.shared} of audio that was heard before, {tally.done_before} done before, "
            f"{tally.failed} failed; {tally.audio_s / 3600:.2f} h of audio in {clock(tally.elapsed_s)}, "
            f"{tally.audio_s_per_s:.1f} s a second\n"
        )
        if failures:
            write(f"{failures} items failed in this run or before: {where}\n")
        return ExitCode.FOUND if tally.failed else ExitCode.CLEAN

    async def _ping(self) -> ExitCode:
        async with AsyncExitStack() as stack:
            scanner, context, shard = await self._begin(stack)
            await scanner.refresh()
            left, every = await count_left(scanner, (await self._source(context, scanner))(), shard)
        write(f"{left} of {every} items are left\n")
        return ExitCode.CLEAN

    async def _begin(self, stack: AsyncExitStack) -> tuple[Scanner, Context, Shard]:
        context, shard = context_of(self.context), Shard.parse(self.shard)
        store = RecordStore(self.out)
        # a refusal is the job's to see: it tells how much is too much
        client = AsyncAircheckClient(**connection_of(*self.server), retry=Retry(attempts=1))
        await stack.enter_async_context(client)
        sources = await stack.enter_async_context(Sources(allow_private=self.allow_private))
        return Scanner(client, store, sources, timeout_s=self.timeout_s, force=self.force), context, shard

    async def _source(self, context: Context, scanner: Scanner) -> Callable[[], Iterator[Item | BadItem]]:
        """Reads the items, as often as it is called; a feed is fetched once."""
        if is_feed(self.source):
            items = await feed_items(self.source, context, scanner.store, scanner.sources.http, self.since)
            return lambda: iter(items)
        if is_folder(self.source):
            return lambda: folder_items(self.source, context)
        return lambda: manifest_items(self.source, context)


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
