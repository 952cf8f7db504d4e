"""What the worker asks of a broker, beside what FastStream does: consuming, draining, the connection."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from faststream import AckPolicy
from faststream.message import StreamMessage

from aircheck_client.worker.processing import LOG, Delivery
from aircheck_client.worker.settings import WorkerSettings

Message = StreamMessage[Any]
Handler = Callable[[Message], Awaitable[None]]


async def undecoded(message: Message) -> Message:
    """A decoder that leaves the message to the handler, so that nothing of it can fail before we see it."""
    return message


def _on_one_line(record: logging.LogRecord) -> bool:
    """A broker that is away is no fault of ours, and needs no traceback each time it is asked."""
    if record.exc_info and record.msg == "Message fetch error":
        record.msg, record.exc_info = f"cannot fetch messages: {record.exc_info[1]}", None
    return True


LOG.addFilter(_on_one_line)


def options_of(settings: WorkerSettings) -> dict[str, Any]:
    """What every FastStream broker of ours is made with."""
    return {
        "apply_types": False,
        "decoder": undecoded,
        "graceful_timeout": settings.drain_s,
        "logger": LOG,
        "log_level": logging.DEBUG,
    }


class Broker(ABC):
    """Messages of one topic, and two topics to answer in."""

    stream: Any
    """FastStream's broker."""

    max_bytes: int | None = None
    """Of a message, where the broker has a limit."""

    def __init__(self, settings: WorkerSettings):
        self.settings = settings
        self._in_hand: set[str] = set()

    @abstractmethod
    async def prepare(self) -> None:
        """Creates what is missing, first of all: streams, groups. Raises the broker's errors, OSError."""

    @abstractmethod
    def consumers(self) -> list[dict[str, Any]]:
        """Arguments of FastStream's `subscriber`, one for each: all together handle `concurrency` messages at a time,
        and take none ahead of that."""

    @abstractmethod
    def destination(self, topic: str) -> dict[str, Any]:
        """Arguments of FastStream's `publisher`."""

    def subscribe(self, handler: Handler) -> None:
        """Declares who handles messages. After `prepare`."""
        for options in self.consumers():
            self.consume(handler, **options)

    def consume(self, handler: Callable[..., Awaitable[None]], **options: Any) -> None:
        """FastStream's `subscriber`, with one of `consumers`."""
        self.stream.subscriber(**options, ack_policy=AckPolicy.MANUAL)(handler)

    @abstractmethod
    async def publish(self, topic: str, body: bytes, headers: dict[str, str]) -> None:
        """Returns once the broker has it. `message-id` is the same when the same answer is published again."""

    @abstractmethod
    async def received(self, message: Message) -> Delivery | None:
        """None: it is no longer ours."""

    @abstractmethod
    async def extend(self, message: Message) -> None:
        """Tells the broker that the message is still being worked on."""

    async def acknowledge(self, message: Message) -> None:
        """It will never be delivered again."""
        await message.ack()

    async def give_back(self, message: Message) -> None:
        """It will be delivered to another worker, as soon as the broker does that."""
        await message.nack()

    async def close(self) -> None:  # noqa: B027  # most have nothing open
        """Closes what `prepare` opened."""

    @asynccontextmanager
    async def held(self, message: Message) -> AsyncIterator[Delivery | None]:
        """Nobody else gets the message while the block runs, however long that takes. None: somebody else has it."""
        delivery = await self.received(message)
        if delivery is None or delivery.unique_id in self._in_hand:
            yield None
            return
        self._in_hand.add(delivery.unique_id)
        keeper = asyncio.create_task(self._keep(message))
        try:
            yield delivery
        finally:
            self._in_hand.discard(delivery.unique_id)
            keeper.cancel()
            with suppress(asyncio.CancelledError):
                await keeper

    async def _keep(self, message: Message) -> None:
        while True:
            await asyncio.sleep(self.settings.claim_after_s / 4)
            try:
                await self.extend(message)
            except Exception as error:  # the broker is away; what another one takes meanwhile is answered twice
                LOG.warning("cannot keep a message: %s: %s", type(error).__name__, error)


def texts(headers: dict[Any, Any]) -> dict[str, str]:
    """Headers that are text; others mean nothing to us."""
    return {name: value for name, value in headers.items() if isinstance(name, str) and isinstance(value, str)}
