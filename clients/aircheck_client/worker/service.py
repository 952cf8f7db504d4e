"""The worker's process: the broker on one side, the server on the other, until SIGTERM."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from faststream import FastStream

from aircheck_client.aio import AsyncAircheckClient
from aircheck_client.worker.brokers import broker_of
from aircheck_client.worker.brokers.base import Broker, Message
from aircheck_client.worker.monitoring import IN_FLIGHT, LEFT, REDELIVERIES, Readiness, endpoint
from aircheck_client.worker.processing import LOG, Checker, Delivery, DrainingError, Processor
from aircheck_client.worker.settings import WorkerSettings

_WATCH_S = 5.0
_PING_S = 3.0


class LostBrokerError(Exception):
    """The broker no longer has what the worker consumes from; the message says what."""


async def serve(
    settings: WorkerSettings, client: AsyncAircheckClient, check: Checker, on_ready: Callable[[str], None]
) -> None:
    """Answers messages until SIGTERM or SIGINT, and then what is in flight, for at most `drain_s`.

    on_ready : is called once messages are taken, with the base URL of metrics and health

    Raises LostBrokerError, OSError for a port that is taken, the broker's errors when it is not there at the start.
    """
    broker, readiness = broker_of(settings), Readiness()
    worker = _Worker(broker, Processor(settings, check, broker))
    with endpoint(settings.metrics_host, settings.metrics_port, readiness) as url:
        await broker.prepare()
        broker.subscribe(worker.handle)
        app = FastStream(broker.stream, logger=None)

        @app.on_shutdown
        async def drain() -> None:
            worker.is_cut_off = not all(subscriber.running for subscriber in broker.stream.subscribers)
            readiness.draining = True
            worker.processor.drain()

        @app.after_startup
        async def ready() -> None:
            on_ready(url)

        async with _watching(broker, client, readiness):
            try:
                await app.run(log_level=logging.DEBUG)
            finally:
                await broker.close()
    if worker.is_cut_off:
        raise LostBrokerError(f"{settings.topic_in} or its group {settings.group} is no longer there; start again")
    if worker.in_flight:
        LOG.warning("%d messages were not done in %g s; they are left to others", worker.in_flight, settings.drain_s)


class _Worker:
    """What FastStream calls for each message."""

    def __init__(self, broker: Broker, processor: Processor):
        self._broker, self.processor = broker, processor
        self.in_flight = 0
        self.is_cut_off = False
        """Whether FastStream gave up consuming, as it does where a Redis stream or its group is deleted."""

    async def handle(self, message: Message) -> None:
        if self.processor.is_draining:
            await self._leave(message)
            return
        async with self._broker.held(message) as delivery:
            if delivery is None:
                return
            if delivery.deliveries > 1:
                REDELIVERIES.inc()
            self.in_flight += 1
            IN_FLIGHT.inc()
            try:
                await self._answer(message, delivery)
            finally:
                IN_FLIGHT.dec()
                self.in_flight -= 1

    async def _answer(self, message: Message, delivery: Delivery) -> None:
        try:
            await self.processor.process(delivery)
        except DrainingError:
            await self._leave(message)
            return
        try:
            await self._broker.acknowledge(message)
        except Exception as error:  # the answer is published: the message comes again, and so does the answer
            LEFT.inc()
            LOG.warning("cannot acknowledge a message: %s: %s", type(error).__name__, error)

    async def _leave(self, message: Message) -> None:
        LEFT.inc()
        with suppress(Exception):  # where the broker is away, it finds out by itself
            await self._broker.give_back(message)


@asynccontextmanager
async def _watching(broker: Broker, client: AsyncAircheckClient, readiness: Readiness) -> AsyncIterator[None]:
    async def watch() -> None:
        while True:
            readiness.server = await client.ready()
            try:
                readiness.broker = await broker.stream.ping(_PING_S)
            except Exception:  # of the broker's own kind
                readiness.broker = False
            await asyncio.sleep(_WATCH_S)

    task = asyncio.create_task(watch())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
