"""RabbitMQ: quorum queues, which count deliveries; the channel takes `concurrency` messages ahead of their
acknowledgement.

A consumer that holds a message for longer than the server's `consumer_timeout` (30 minutes by default) loses it.
"""

from __future__ import annotations

import uuid
from typing import Any

from faststream.rabbit import Channel, QueueType, RabbitBroker, RabbitQueue

from aircheck_client.worker.brokers.base import Broker, Message, options_of, texts
from aircheck_client.worker.processing import Delivery
from aircheck_client.worker.settings import WorkerSettings


def broker_of(settings: WorkerSettings) -> RabbitMq:
    return RabbitMq(settings)


class RabbitMq(Broker):
    """A consumer of a queue."""

    def __init__(self, settings: WorkerSettings):
        super().__init__(settings)
        channel = Channel(prefetch_count=settings.concurrency, on_return_raises=True)
        self.stream = RabbitBroker(settings.broker, default_channel=channel, **options_of(settings))

    async def prepare(self) -> None:
        """The queues for answers; that for jobs is declared by whoever consumes it."""
        await self.stream.connect()
        for topic in (self.settings.topic_out, self.settings.dead_letters):
            await self.stream.declare_queue(self.destination(topic)["queue"])

    def consumers(self) -> list[dict[str, Any]]:
        return [self.destination(self.settings.topic_in)]

    def destination(self, topic: str) -> dict[str, Any]:
        return {"queue": RabbitQueue(topic, queue_type=QueueType.QUORUM, durable=True)}

    async def publish(self, topic: str, body: bytes, headers: dict[str, str]) -> None:
        await self.stream.publish(
            body,
            queue=topic,
            headers=dict(headers),
            message_id=headers["message-id"],
            content_type="application/json",
            persist=True,
        )

    async def received(self, message: Message) -> Delivery | None:
        raw = message.raw_message
        before = raw.headers.get("x-delivery-count", int(bool(raw.redelivered)))
        return Delivery(message.body, texts(message.headers), int(before) + 1, uuid.uuid4().hex)

    async def extend(self, message: Message) -> None:
        """A message is ours as long as the connection lives."""
