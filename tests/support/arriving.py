"""Recordings that arrive while they are decoded, for tests: in this process, and through the gateway's decoders."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass

from aircheck.gateway.decoding import DecodedWindow, DecoderPool, RecordingInfo, Spool, SpoolQuota, Summary
from preprocessing.container import Limits
from preprocessing.recording_bytes import BUFFER_BYTES, HeldBytes


class Arriving:
    """RecordingBytes that are all there, and tell how far a reader would have had to wait for them."""

    buffer_bytes = BUFFER_BYTES
    size = None

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.awaited = 0
        """The end of what has been read."""

    def read(self, at: int, size: int) -> bytes:
        self.awaited = max(self.awaited, min(at + size, len(self._data)))
        return self._data[at : at + size]

    def complete(self) -> HeldBytes:
        self.awaited = len(self._data)
        return HeldBytes(self._data)


@dataclass(frozen=True)
class Decoded:
    """All that a decoder process says of a recording."""

    windows: tuple[DecodedWindow, ...]
    recording: RecordingInfo
    summary: Summary


@contextlib.asynccontextmanager
async def uploading(
    data: bytes, quota: SpoolQuota, chunk_bytes: int = 2**16, seed: int | None = None
) -> AsyncIterator[Spool]:
    """A spool that `data` goes into: in pieces of `chunk_bytes`, or by `seed` of random sizes and with delays."""
    spool, rng = Spool.create(quota), random.Random(seed)

    async def upload() -> None:
        at = 0
        while at < len(data):
            size = chunk_bytes if seed is None else int(2 ** rng.uniform(0, 17))
            await spool.room()
            await spool.append(data[at : at + size])
            at += size
            if seed is not None and rng.random() < 0.2:
                await asyncio.sleep(rng.uniform(0, 0.01))
        spool.complete()

    task = asyncio.create_task(upload())
    try:
        yield spool
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        spool.close()


async def decoded(
    pool: DecoderPool,
    quota: SpoolQuota,
    data: bytes,
    limits: Limits,
    window_max_s: float = 30.0,
    seed: int | None = None,
) -> Decoded:
    """What the pool makes of `data`. Raises what it raises."""
    async with uploading(data, quota, seed=seed) as spool, pool.decode(spool, limits, window_max_s) as decoding:
        windows = tuple([window async for window in decoding.windows()])
        return Decoded(windows, decoding.recording, decoding.summary)
