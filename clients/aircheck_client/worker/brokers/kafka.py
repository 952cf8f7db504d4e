"""Kafka: a consumer group; offsets are committed in order, so a partition is worked on one message at a time.

Kafka does not count deliveries: a message that ends its workers is tried for ever, and its partition waits for it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from faststream import AckPolicy
from faststream.kafka import KafkaBroker

from aircheck_client.worker.brokers.base import Broker, Message, options_of, texts
from aircheck_client.worker.processing import Delivery
from aircheck_client.worker.settings import WorkerSettings

_LONGEST_S = 24 * 3600  # of one message; a consumer that is alive keeps its partitions as long
_MAX_REQUEST_BYTES = 2**20  # aiokafka's default, and a broker's


def broker_of(settings: WorkerSettings) -> Kafka:
    return Kafka(settings)


class Kafka(Broker):
    """A worker's part of a consumer group: at most `concurrency` consumers, no more than there are partitions."""

    max_bytes = _MAX_REQUEST_BYTES - 4096  # headers and framing

    def __init__(self, settings: WorkerSettings):
        super().__init__(settings)
        if "@" in settings.broker:
            raise ValueError("--broker: a kafka:// address has no user and password; SASL is not supported")
        servers = [server.partition("://")[2] or server for server in settings.broker.split(",")]
        self.stream = KafkaBroker(servers, acks="all", **options_of(settings))

    async def prepare(self) -> None:
        """Topics are the cluster's to make."""

    def consumers(self) -> list[dict[str, Any]]:
        return [
            {
                "group_id": self.settings.group,
                "auto_offset_reset": "earliest",
                "max_poll_interval_ms": _LONGEST_S * 1000,
                "max_workers": self.settings.concurrency,
            }
        ]

    def consume(self, handler: Callable[..., Awaitable[None]], **options: Any) -> None:
        self.stream.subscriber(self.settings.topic_in, **options, ack_policy=AckPolicy.MANUAL)(handler)

    def destination(self, topic: str) -> dict[str, Any]:
        return {"topic": topic}

    async def publish(self, topic: str, body: bytes, headers: dict[str, str]) -> None:
        await self.stream.publish(body, topic, headers={**headers, "content-type": "application/json"})

    async def received(self, message: Message) -> Delivery | None:
        raw = message.raw_message
        return Delivery(message.body, texts(message.headers), 1, f"{raw.topic}:{raw.partition}:{raw.offset}")

    async def extend(self, message: Message) -> None:
        """Heartbeats are the consumer's own."""
