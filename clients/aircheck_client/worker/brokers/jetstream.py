"""NATS JetStream: a durable pull consumer that a group shares; what is not acknowledged is delivered again.

A stream that no stream of the server's covers is made: for jobs one that drops what is acknowledged (a work queue), for
answers one that keeps them until their consumer, or a limit of yours, takes them.
"""

from __future__ import annotations

import re
from typing import Any

import nats
from faststream.nats import JStream, NatsBroker, PullSub
from nats.js.api import AckPolicy as Acknowledged
from nats.js.api import ConsumerConfig, RetentionPolicy, StreamConfig
from nats.js.errors import NotFoundError

from aircheck_client.worker.brokers.base import Broker, Message, options_of, texts
from aircheck_client.worker.processing import Delivery
from aircheck_client.worker.settings import WorkerSettings

_FETCH_S = 5.0
_PUBLISH_S = 10.0
_HEADER_BYTES = 4096  # a message's headers count, too


def broker_of(settings: WorkerSettings) -> JetStream:
    return JetStream(settings)


class JetStream(Broker):
    """A worker's part of a durable consumer."""

    def __init__(self, settings: WorkerSettings):
        super().__init__(settings)
        self._servers = settings.broker.split(",")
        self._streams: dict[str, str] = {}
        self._config = ConsumerConfig(
            durable_name=settings.group,
            ack_policy=Acknowledged.EXPLICIT,
            ack_wait=settings.claim_after_s,
            filter_subject=settings.topic_in,
            max_deliver=-1,  # we count
        )
        self.stream = NatsBroker(self._servers, max_reconnect_attempts=-1, **options_of(settings))

    async def prepare(self) -> None:
        client = await nats.connect(self._servers, max_reconnect_attempts=0, allow_reconnect=False)
        try:
            streams = client.jetstream()
            for topic in (self.settings.topic_in, self.settings.topic_out, self.settings.dead_letters):
                try:
                    self._streams[topic] = await streams.find_stream_name_by_subject(topic)
                except NotFoundError:
                    is_queue = topic == self.settings.topic_in
                    retention = RetentionPolicy.WORK_QUEUE if is_queue else RetentionPolicy.LIMITS
                    name = re.sub(r"[^\w-]", "_", topic)
                    await streams.add_stream(StreamConfig(name=name, subjects=[topic], retention=retention))
                    self._streams[topic] = name
            await streams.add_consumer(self._streams[self.settings.topic_in], self._config)
            self.max_bytes = client.max_payload - _HEADER_BYTES
        finally:
            await client.close()

    def consumers(self) -> list[dict[str, Any]]:
        """Each pulls one message when it has none."""
        topic = self.settings.topic_in
        options = {
            "subject": topic,
            "stream": JStream(self._streams.get(topic, topic), declare=False),
            "durable": self.settings.group,
            "config": self._config,
            "pull_sub": PullSub(batch_size=1, timeout=_FETCH_S),
        }
        return [options] * self.settings.concurrency

    def destination(self, topic: str) -> dict[str, Any]:
        return {"subject": topic, "stream": JStream(self._streams.get(topic, topic), declare=False)}

    async def publish(self, topic: str, body: bytes, headers: dict[str, str]) -> None:
        named = {**headers, "content-type": "application/json", "Nats-Msg-Id": headers["message-id"]}
        await self.stream.publish(body, topic, headers=named, stream=self._streams[topic], timeout=_PUBLISH_S)

    async def received(self, message: Message) -> Delivery | None:
        about = message.raw_message.metadata
        unique_id = f"{about.stream}:{about.sequence.stream}"
        return Delivery(message.body, texts(message.headers), about.num_delivered, unique_id)

    async def extend(self, message: Message) -> None:
        await message.raw_message.in_progress()

    async def acknowledge(self, message: Message) -> None:
        await message.raw_message.ack_sync()
