"""Redis Streams: a consumer group, of which each process is a consumer; XAUTOCLAIM takes from the dead.

A job is one field, `data`, with the JSON, and further fields as headers (`traceparent`); or the fields `id`, `uri` and
`context` themselves. What FastStream publishes is understood too. Answers have `data` and headers.

    XADD uploads * data '{"id": "1", "uri": "s3://bucket/episode.mp3"}'
    XADD uploads * id 1 uri s3://bucket/episode.mp3
"""

from __future__ import annotations

import json
import os
import socket
import uuid
from typing import Any

from faststream.redis import RedisBroker, StreamSub
from faststream.redis.message import RedisStreamMessage
from faststream.redis.parser import BinaryMessageFormatV1
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from aircheck_client.worker.brokers.base import Broker, Message, options_of, texts
from aircheck_client.worker.processing import Delivery
from aircheck_client.worker.settings import WorkerSettings

_POLL_MS = 1000
_FASTSTREAM_FIELD = b"__data__"


def broker_of(settings: WorkerSettings) -> RedisStreams:
    return RedisStreams(settings)


class RedisStreams(Broker):
    """A worker's part of a consumer group."""

    def __init__(self, settings: WorkerSettings):
        super().__init__(settings)
        self._consumer = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._client: Redis = Redis.from_url(settings.broker)
        self.stream = RedisBroker(settings.broker, **options_of(settings))

    async def prepare(self) -> None:
        """The group, from the stream's first message on: what came before the first worker is not skipped."""
        try:
            await self._client.xgroup_create(self.settings.topic_in, self.settings.group, id="0", mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise

    def consumers(self) -> list[dict[str, Any]]:
        """One of them claims what was a dead consumer's: beside the `concurrency` others."""
        claim_ms = round(self.settings.claim_after_s * 1000)
        claiming = {"min_idle_time": claim_ms, "polling_interval": min(5 * _POLL_MS, claim_ms // 4)}
        kinds = [{"polling_interval": _POLL_MS}] * self.settings.concurrency + [claiming]
        return [{"stream": self._stream(**kind), "parser": self._parsed} for kind in kinds]

    def destination(self, topic: str) -> dict[str, Any]:
        return {"stream": topic}

    def _stream(self, **options: Any) -> StreamSub:
        return StreamSub(
            self.settings.topic_in, group=self.settings.group, consumer=self._consumer, max_records=1, **options
        )

    async def _parsed(self, raw: dict[str, Any]) -> Message:
        body, headers = _content(raw["data"])
        return RedisStreamMessage(
            raw_message=raw,
            body=body,
            headers=headers,
            message_id=raw["message_ids"][0].decode(),
            consumer=self._client,  # type: ignore[arg-type]  # awaitables, where coroutines are asked for
            group=self.settings.group,
        )

    async def publish(self, topic: str, body: bytes, headers: dict[str, str]) -> None:
        await self._client.xadd(topic, {"data": body, **headers})  # type: ignore[dict-item]  # dict is invariant

    async def received(self, message: Message) -> Delivery | None:
        (id_,) = message.raw_message["message_ids"]
        pending: list[Any] = await self._client.xpending_range(self.settings.topic_in, self.settings.group, id_, id_, 1)
        if not pending or pending[0]["consumer"].decode() != self._consumer:
            return None  # answered, or claimed, since it was read
        return Delivery(message.body, message.headers, pending[0]["times_delivered"], id_.decode())

    async def extend(self, message: Message) -> None:
        await self._client.xclaim(
            self.settings.topic_in,
            self.settings.group,
            self._consumer,
            min_idle_time=0,
            message_ids=message.raw_message["message_ids"],
            justid=True,  # does not count as a delivery
        )

    async def close(self) -> None:
        await self._client.aclose()


def _content(fields: dict[bytes, bytes]) -> tuple[bytes, dict[str, str]]:
    """A message's body, and its headers."""
    if _FASTSTREAM_FIELD in fields:
        body, headers = BinaryMessageFormatV1.parse(fields[_FASTSTREAM_FIELD])
        return body, texts(headers) if isinstance(headers, dict) else {}
    named = {name.decode(errors="replace"): value.decode(errors="replace") for name, value in fields.items()}
    if b"data" in fields:
        return fields[b"data"], {name: value for name, value in named.items() if name != "data"}
    headers = {name: named.pop(name) for name in ("traceparent", "tracestate") if name in named}
    return json.dumps(named).encode(), headers
