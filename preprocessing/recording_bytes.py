"""The encoded bytes of a recording: all of them at hand, or arriving while they are decoded."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import islice
from typing import Protocol

BUFFER_BYTES = 32_768
MAX_BOXES = 100_000  # of a file, or within one box, that are looked at: a true file has fewer than a hundred
MP4_FIRST_BOXES = (b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"wide", b"free", b"skip", b"pnot", b"sidx")
_UNBOUNDED = 2**63 - 1


class RecordingBytes(Protocol):
    """What demuxing needs of a file. `read` is the only thing that may wait."""

    buffer_bytes: int
    """How much of it is read at a time."""

    @property
    def size(self) -> int | None:
        """Bytes in the file; None while that must not be asked, since more may come."""

    def read(self, at: int, size: int) -> bytes:
        """The bytes [at, at + size); fewer, or none, only where the file ends."""

    def complete(self) -> RecordingBytes:
        """The same file with its size; waits until all of it is there."""


class HeldBytes:
    """A file in memory."""

    buffer_bytes = BUFFER_BYTES

    def __init__(self, data: bytes | memoryview):
        self._data = memoryview(data)

    @property
    def size(self) -> int:
        return len(self._data)

    def read(self, at: int, size: int) -> bytes:
        return bytes(self._data[at : at + size])

    def complete(self) -> HeldBytes:
        return self


def recording_bytes(data: bytes | memoryview | RecordingBytes) -> RecordingBytes:
    """`data` as RecordingBytes."""
    return HeldBytes(data) if isinstance(data, bytes | memoryview) else data


def boxes(data: RecordingBytes, at: int = 0, end: int | None = None) -> Iterator[tuple[bytes, int, int]]:
    """MP4's boxes between two offsets: type, start and end of what each holds; an end may lie beyond the data.

    ISO/IEC 14496-12, 4.2. Not more than MAX_BOXES are looked at.
    """
    return islice(_boxes(data, at, _bound(data) if end is None else end), MAX_BOXES)


def children(data: RecordingBytes, start: int, end: int, wanted: bytes) -> list[tuple[int, int]]:
    """Start and end of what each box of type `wanted` between two offsets holds, as far as the file goes."""
    end = min(end, _bound(data))
    return [(body, min(stop, end)) for name, body, stop in boxes(data, start, end) if name == wanted]


def _bound(data: RecordingBytes) -> int:
    return _UNBOUNDED if data.size is None else data.size


def _boxes(data: RecordingBytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    while at + 8 <= end:
        header = data.read(at, 8)
        if len(header) < 8:
            return
        size, name = struct.unpack(">I4s", header)
        body = at + 8
        if size == 1 and at + 16 <= end:  # the size follows in 64 bits
            header = data.read(body, 8)
            if len(header) < 8:
                return
            (size,) = struct.unpack(">Q", header)
            body += 8
        elif size == 0:  # to the end of the file
            size = end - at
        if size < body - at:
            return
        yield name, body, at + size
        at += size
