"""A bulk job on Ray Data: items flow from one reading task to actors that scan, on this machine or on a cluster.

Every actor works as a `Job` does, on the items that it is given, with an adaptive limit of its own. What is done, and
what failed, is in the store as always: whoever dies is started again by Ray, or by the next run, and loses nothing.
https://docs.ray.io/en/latest/data/data.html
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from itertools import islice
from typing import Any

import ray
import ray.data

from aircheck_client.catalogue.concurrency import Bounds
from aircheck_client.catalogue.items import BadItem, SourceError
from aircheck_client.catalogue.job import AHEAD, Job, JobError, JobOptions, Outcome, Tally, wanted, with_error
from aircheck_client.catalogue.opening import ScannerOptions
from aircheck_client.catalogue.ray_cluster import WORKER_CPUS
from aircheck_client.catalogue.records import Item, StoreError
from aircheck_client.schema import _Model

logging.getLogger("ray.data").setLevel(logging.ERROR)  # the job tells how far it is
warnings.filterwarnings("ignore", "The minimum number of concurrent actors", UserWarning)  # it takes items for blocks

Items = Callable[[], Iterator[Item | BadItem]]
Batch = Mapping[str, Any]  # Ray Data's: arrays by the names of columns; ours has one, of JSON

ROWS_READ = 8  # at a time
BLOCK_BYTES = 4096  # of items that an actor gets at a time: a few, so that none waits for an actor that is busy
CALLS_EACH = 16  # rows of a block that Ray Data gives to an async function at a time


class Given(_Model):
    """What an actor is given: an item; what is wrong with it, where it is none; or why there are no more of them."""

    item: Item | None = None
    fault: str = ""
    broke_off: str = ""

    @classmethod
    def of(cls, item: Item | BadItem | SourceError) -> Given:
        match item:
            case SourceError():
                return cls(broke_off=str(item))
            case BadItem(id=place, reason=fault):
                return cls(item=Item(id=place, uri=place), fault=fault)
        return cls(item=item)


class Told(_Model):
    """What an actor tells of it.

    worker, concurrency, retries : the actor, how many scans it may have under way, and its retries so far
    stopped : why the job cannot go on
    """

    outcome: Outcome | None = None
    worker: str = ""
    concurrency: int = 0
    retries: int = 0
    stopped: str = ""
    broke_off: str = ""


class RayJob:
    """Works through items once, within `ray_cluster.cluster`. `tally` may be read meanwhile.

    workers : actors that scan; they share `options.bounds`
    """

    def __init__(self, scanner: ScannerOptions, options: JobOptions, workers: int):
        most = max(1, options.bounds.most // workers)
        bounds = Bounds(min(options.bounds.least, most), min(options.bounds.first, most), most)
        self._scanner, self._workers = scanner.from_anywhere(), workers
        self._options = replace(options, bounds=bounds)
        self._latest: dict[str, Told] = {}  # by actor
        self.tally = Tally()

    def run(self, items: Items) -> Tally:
        """Raises JobError; SourceError where `items` cannot be read further, after all before it are done."""
        broke_off = ""
        try:
            for batch in self._dataset(items).iter_batches(batch_size=None, batch_format="numpy"):
                for told in map(Told.model_validate_json, batch["json"]):
                    if told.stopped:
                        raise JobError(told.stopped)
                    broke_off = broke_off or told.broke_off
                    self._count(told)
        except ray.exceptions.RayError as error:
            raise JobError(f"Ray: {error}") from error
        if broke_off:
            raise SourceError(broke_off)
        return self.tally

    def _count(self, told: Told) -> None:
        if told.outcome is None:
            return
        self.tally.add(told.outcome)
        self._latest[told.worker] = told
        self.tally.concurrency = sum(one.concurrency for one in self._latest.values())
        self.tally.retries = sum(one.retries for one in self._latest.values())

    def _dataset(self, items: Items) -> Any:
        here = {"ray.io/node-id": ray.get_runtime_context().get_node_id()}
        calls = math.ceil((AHEAD + 2 * self._options.bounds.most) / CALLS_EACH)
        pool = ray.data.ActorPoolStrategy(
            size=self._workers, max_tasks_in_flight_per_actor=2 * calls, max_concurrent_calls_per_actor=calls
        )
        context = ray.data.DataContext.get_current().copy()
        context.target_max_block_size = BLOCK_BYTES
        context.enable_progress_bars = False
        with ray.data.DataContext.current(context):
            return (
                ray.data.from_items([{"folder": os.getcwd()}])
                .map_batches(
                    _read,
                    batch_size=None,
                    fn_kwargs={"items": items, "options": self._options},
                    label_selector=here,
                )
                .map(
                    _Scans,
                    fn_constructor_args=(self._scanner, self._options),
                    compute=pool,
                    num_cpus=WORKER_CPUS,
                )
            )


def _read(batch: Batch, items: Items, options: JobOptions) -> Iterator[Batch]:
    """The items of the shard, a few at a time, in the folder where the job was started."""
    os.chdir(str(batch["folder"][0]))
    read = with_error(wanted(items(), options.shard))
    while some := list(islice(read, ROWS_READ)):
        yield {"json": [Given.of(item).model_dump_json() for item in some]}


class _Scans:
    """An actor's side: Ray Data makes one in each, and gives it rows, many at a time, on one event loop."""

    def __init__(self, scanner: ScannerOptions, options: JobOptions):
        self._scanner, self._options = scanner, options
        self._open = AsyncExitStack()
        self._begun: asyncio.Task[Job] | None = None
        self._name = ray.get_runtime_context().get_actor_id() or ""

    async def __call__(self, row: Batch) -> Batch:
        return {"json": (await self._told(Given.model_validate_json(row["json"]))).model_dump_json()}

    async def _told(self, given: Given) -> Told:
        if given.item is None:
            return Told(broke_off=given.broke_off)
        item = BadItem(given.item.id, given.fault) if given.fault else given.item
        try:
            self._begun = self._begun or asyncio.ensure_future(self._begin())
            job = await asyncio.shield(self._begun)
            outcome = await job.one(item)
        except (JobError, StoreError, OSError, ValueError) as error:
            return Told(stopped=str(error))
        tally = job.tally
        return Told(outcome=outcome, worker=self._name, concurrency=tally.concurrency, retries=tally.retries)

    async def _begin(self) -> Job:
        job = Job(await self._open.enter_async_context(self._scanner.scanner()), self._options)
        await job.begin()
        return job
