"""An MP4 of many hours, opened in pieces, so that memory does not grow with it.

FFmpeg expands the index of an MP4 (moov) when it opens it, to 36 bytes for each packet: 170 MB for an audiobook of 30
hours, and 340 while it does so. Here it gets an index of the first hours. What follows is opened when that has been
read, as files of their own over the same bytes. ISO/IEC 14496-12 (8.6 and 8.7) has the tables.

Only what a long recording is gets this: one audio track of packets that vary in size, whose edit list, if any, merely
says where it begins. Fragmented files have no such index, and everything else is left to FFmpeg.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from preprocessing.recording_bytes import MP4_FIRST_BOXES, RecordingBytes, boxes, children

PIECE_PACKETS = 2**19  # 3.4 hours of AAC at 44.1 kHz
_MAX_PACKETS = 2**27
_MAX_RUNS = 2**16  # of packets of one length
_TABLES = (b"stts", b"stsc", b"stsz", b"stco", b"co64")
_Box = tuple[int, int]  # start and end of what it holds


@dataclass(frozen=True)
class Piece:
    """What follows the first packets, as a file of its own whose time begins at 0."""

    data: RecordingBytes
    start: int  # in the track's units of time


class LongMp4:
    """An MP4 whose index has been read, other than the sizes of its packets."""

    def __init__(self, data: RecordingBytes, moov: _Box, track: _Box, table: _Box) -> None:
        self._data, self._moov, self._track, self._table = data, moov, track, table
        held = {name: (body, end) for name, body, end in boxes(data, *table)}
        self.packets = int.from_bytes(data.read(held[b"stsz"][0] + 8, 4), "big")
        self._sizes_at = held[b"stsz"][0] + 12
        self._runs = _runs(data, held[b"stts"])  # [runs, 2]: packets, and how long each is
        offsets = _chunk_offsets(data, held)
        self._offsets, self._per_chunk = self._split(offsets, _packets_per_chunk(data, held[b"stsc"], len(offsets)))
        self._first_packets = np.concatenate([[0], np.cumsum(self._per_chunk)])
        if self._first_packets[-1] != self.packets or self._runs[:, 0].sum() != self.packets:
            raise _UnfitError
        self._edits = _edits(data, track)
        self.duration_s = self._duration_s()
        self.first: RecordingBytes = self._first()
        """The file with an index that ends after the first piece."""

    def pieces(self) -> Iterator[Piece]:
        """What follows, in order."""
        for first, end in self._ranges()[1:]:
            offsets = self._offsets[first:end]
            packets = self._first_packets[first], self._first_packets[end]
            sizes = self._sizes(*packets)
            bounds = self._first_packets[first : end + 1] - packets[0]
            sums = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
            begin, stop = int(offsets.min()), int((offsets + sums[bounds[1:]] - sums[bounds[:-1]]).max())
            yield Piece(self._alone(first, end, begin, stop), self._time_of(int(packets[0])))

    def _split(self, offsets: np.ndarray, per_chunk: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Chunks that are longer than a piece as several."""
        first_packets = np.concatenate([[0], np.cumsum(per_chunk)])
        for chunk in np.flatnonzero(per_chunk > PIECE_PACKETS)[::-1]:
            starts = np.arange(0, per_chunk[chunk], PIECE_PACKETS)
            sizes = self._sizes(first_packets[chunk], first_packets[chunk + 1])
            if len(sizes) < per_chunk[chunk]:
                raise _UnfitError
            at = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])[starts]
            parts = np.diff(np.append(starts, per_chunk[chunk]))
            offsets = np.concatenate([offsets[:chunk], offsets[chunk] + at, offsets[chunk + 1 :]])
            per_chunk = np.concatenate([per_chunk[:chunk], parts, per_chunk[chunk + 1 :]])
        return offsets, per_chunk

    def _ranges(self) -> list[tuple[int, int]]:
        """Chunks [first, end) of each piece."""
        found, first = [], 0
        while first < len(self._offsets):
            end = int(np.searchsorted(self._first_packets, self._first_packets[first] + PIECE_PACKETS, "right")) - 1
            found.append((first, min(max(end, first + 1), len(self._offsets))))
            first = found[-1][1]
        return found

    def _sizes(self, first: int, end: int) -> np.ndarray:
        return _integers(self._data.read(self._sizes_at + 4 * int(first), 4 * int(end - first)), ">u4")

    def _time_of(self, packet: int) -> int:
        ends = np.cumsum(self._runs[:, 0])
        run = int(np.searchsorted(ends, packet, "right"))
        before = np.concatenate([[0], np.cumsum(self._runs[:, 0] * self._runs[:, 1])])
        within = packet - (int(ends[run - 1]) if run else 0)
        return int(before[run]) + (within * int(self._runs[run, 1]) if within else 0)

    def _tables(self, first: int, end: int, shift: int) -> bytes:
        """The track's stbl for chunks [first, end), whose offsets are `shift` higher in the new file."""
        packets = int(self._first_packets[first]), int(self._first_packets[end])
        ends = np.cumsum(self._runs[:, 0])
        counts = np.minimum(ends, packets[1]) - np.maximum(ends - self._runs[:, 0], packets[0])
        runs = np.stack([counts, self._runs[:, 1]], 1)[counts > 0]
        per_chunk = self._per_chunk[first:end]
        changes = np.concatenate([[0], np.flatnonzero(np.diff(per_chunk)) + 1])
        chunks = np.stack([changes + 1, per_chunk[changes], np.ones_like(changes)], 1)
        sizes = self._sizes(*packets)
        description = b"".join(
            _box(name, self._data.read(body, stop - body))
            for name, body, stop in boxes(self._data, *self._table)
            if name == b"stsd"
        )
        offsets = self._offsets[first:end] + shift
        return _box(
            b"stbl",
            description
            + _box(b"stts", struct.pack(">4xI", len(runs)) + runs.astype(">u4").tobytes())
            + _box(b"stsc", struct.pack(">4xI", len(chunks)) + chunks.astype(">u4").tobytes())
            + _box(b"stsz", struct.pack(">4xII", 0, len(sizes)) + sizes.astype(">u4").tobytes())
            + _box(b"co64", struct.pack(">4xI", len(offsets)) + offsets.astype(">u8").tobytes()),
        )

    def _first(self) -> RecordingBytes:
        """The index is replaced where it stands, so that all else stays where other tracks and boxes say it is."""
        moov = self._rebuilt(self._moov, self._tables(*self._ranges()[0], 0))
        start, end = self._moov
        room = end - start - len(moov)
        if not 8 <= room < 2**32:
            raise _UnfitError
        return _Overlaid(self._data, start, moov + struct.pack(">I4s", room, b"free"))

    def _rebuilt(self, box: _Box, tables: bytes) -> bytes:
        """The boxes in `box`, with the track's tables replaced."""
        made = b""
        for name, body, stop in boxes(self._data, *box):
            if (body, stop) == self._table:
                made += tables
            elif body <= self._table[0] and self._table[1] <= stop:
                made += _box(name, self._rebuilt((body, stop), tables))
            else:
                made += _box(name, self._data.read(body, stop - body))
        return made

    def _alone(self, first: int, end: int, begin: int, stop: int) -> RecordingBytes:
        """A file of the track's chunks [first, end) alone, which lie within the bytes [begin, stop)."""
        file_type = _box(b"ftyp", b"M4A \0\0\0\0M4A isom")

        def head(shift: int) -> bytes:
            media = self._rebuilt(_only(self._data, self._track, b"mdia"), self._tables(first, end, shift))
            kept = b"".join(self._copies(self._moov, b"mvhd"))
            track = b"".join(self._copies(self._track, b"tkhd")) + _box(b"mdia", media)
            sound = struct.pack(">I4sQ", 1, b"mdat", 16 + stop - begin)
            return file_type + _box(b"moov", kept + _box(b"trak", track)) + sound

        return _Joined(head(len(head(0)) - begin), self._data, begin, stop)

    def _copies(self, box: _Box, wanted: bytes) -> Iterator[bytes]:
        for body, stop in children(self._data, *box, wanted):
            yield _box(wanted, self._data.read(body, stop - body))

    def _duration_s(self) -> float:
        media_units = int((self._runs[:, 0] * self._runs[:, 1]).sum())
        media_rate = _time_scale(self._data, _only(self._data, _only(self._data, self._track, b"mdia"), b"mdhd"))
        played = sum(duration for duration, media_time in self._edits if media_time >= 0)
        if played:
            return played / _time_scale(self._data, _only(self._data, self._moov, b"mvhd"))
        return media_units / media_rate


def long_mp4(data: RecordingBytes) -> LongMp4 | None:
    """The recording in pieces; None for what is no long MP4, or not of the kind."""
    if data.read(4, 4) not in MP4_FIRST_BOXES:
        return None
    moov = next(((start, end) for name, start, end in boxes(data) if name == b"moov"), None)
    if moov is None or children(data, *moov, b"mvex"):
        return None
    try:
        tracks = [
            track
            for track in children(data, *moov, b"trak")
            for media in children(data, *track, b"mdia")
            if any(data.read(start + 8, 4) == b"soun" for start, _ in children(data, *media, b"hdlr"))
        ]
        if len(tracks) != 1:
            return None
        table = _only(data, _only(data, _only(data, tracks[0], b"mdia"), b"minf"), b"stbl")
        if not _is_fit(data, table):
            return None
        return LongMp4(data, moov, tracks[0], table)
    except (_UnfitError, KeyError):
        return None


class _UnfitError(Exception):
    """The index is of another kind, or damaged: FFmpeg is to make of it what it can."""


def _is_fit(data: RecordingBytes, table: _Box) -> bool:
    held = {name: (body, end) for name, body, end in boxes(data, *table)}
    if b"ctts" in held or b"stsz" not in held:
        return False
    body, end = held[b"stsz"]
    header = data.read(body, 12)
    if len(header) < 12:
        return False
    size, packets = struct.unpack(">4xII", header)
    return size == 0 and PIECE_PACKETS < packets <= _MAX_PACKETS and end - body >= 12 + 4 * packets


def _runs(data: RecordingBytes, box: _Box) -> np.ndarray:
    count = int.from_bytes(data.read(box[0] + 4, 4), "big")
    if not 0 < count <= _MAX_RUNS:
        raise _UnfitError
    return _entries(data, box[0] + 8, count, ">u4", 2)


def _chunk_offsets(data: RecordingBytes, held: dict[bytes, _Box]) -> np.ndarray:
    is_wide = b"co64" in held
    body, end = held[b"co64" if is_wide else b"stco"]
    count = int.from_bytes(data.read(body + 4, 4), "big")
    if not 0 < count <= min(_MAX_PACKETS, (end - body - 8) // 4):
        raise _UnfitError
    offsets = _entries(data, body + 8, count, ">u8" if is_wide else ">u4", 1)[:, 0]
    if offsets.min() < 0:
        raise _UnfitError
    return offsets


def _packets_per_chunk(data: RecordingBytes, box: _Box, chunks: int) -> np.ndarray:
    count = int.from_bytes(data.read(box[0] + 4, 4), "big")
    if not 0 < count <= chunks:
        raise _UnfitError
    first, packets, description = _entries(data, box[0] + 8, count, ">u4", 3).T
    spans = np.diff(np.append(first, chunks + 1))
    if first[0] != 1 or spans.min() < 1 or packets.min() < 1 or np.any(description != description[0]):
        raise _UnfitError
    return np.repeat(packets, spans)


def _edits(data: RecordingBytes, track: _Box) -> list[tuple[int, int]]:
    """Duration and media time of each edit: -1 for a pause. Not more than a pause and the recording itself."""
    found = []
    for edits in children(data, *track, b"edts"):
        for body, _ in children(data, *edits, b"elst"):
            version, count = struct.unpack(">B3xI", data.read(body, 8).ljust(8, b"\0"))
            form = struct.Struct(">QqI" if version == 1 else ">IiI")
            if count > 2:
                raise _UnfitError
            for at in range(count):
                duration, media_time, rate = form.unpack(
                    data.read(body + 8 + at * form.size, form.size).ljust(form.size, b"\0")
                )
                if rate != 0x1_0000:
                    raise _UnfitError
                found.append((duration, media_time))
    if sum(media_time >= 0 for _, media_time in found) > 1:
        raise _UnfitError
    return found


def _time_scale(data: RecordingBytes, box: _Box) -> int:
    """Units a second, of mvhd or mdhd."""
    head = data.read(box[0], 24)
    rate = int.from_bytes(head[20:24] if head[:1] == b"\1" else head[12:16], "big")
    if not rate:
        raise _UnfitError
    return rate


def _entries(data: RecordingBytes, at: int, count: int, kind: str, columns: int) -> np.ndarray:
    """int64 [count, columns]"""
    size = count * columns * np.dtype(kind).itemsize
    held = data.read(at, size)
    if len(held) < size:
        raise _UnfitError
    return _integers(held, kind).reshape(count, columns)


def _integers(held: bytes, kind: str) -> np.ndarray:
    return np.frombuffer(held, kind).astype(np.int64)


def _only(data: RecordingBytes, box: _Box, wanted: bytes) -> _Box:
    found = children(data, *box, wanted)
    if len(found) != 1:
        raise _UnfitError
    return found[0]


def _box(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(body), name) + body


class _Overlaid:
    """RecordingBytes with some of them replaced."""

    def __init__(self, data: RecordingBytes, at: int, replacement: bytes) -> None:
        self._data, self._at, self._replacement = data, at, replacement
        self.buffer_bytes = data.buffer_bytes

    @property
    def size(self) -> int | None:
        return self._data.size

    def read(self, at: int, size: int) -> bytes:
        held = self._data.read(at, size)
        first, end = max(at, self._at), min(at + len(held), self._at + len(self._replacement))
        if first >= end:
            return held
        new = self._replacement[first - self._at : end - self._at]
        return held[: first - at] + new + held[end - at :]

    def complete(self) -> RecordingBytes:
        return _Overlaid(self._data.complete(), self._at, self._replacement)


class _Joined:
    """RecordingBytes of a head, and of the bytes [begin, stop) of others."""

    def __init__(self, head: bytes, data: RecordingBytes, begin: int, stop: int) -> None:
        self._head, self._data, self._begin = head, data, begin
        self.buffer_bytes = data.buffer_bytes
        self.size = len(head) + stop - begin

    def read(self, at: int, size: int) -> bytes:
        head = self._head[at : at + size]
        rest_at = max(at - len(self._head), 0)
        rest = min(size - len(head), self.size - len(self._head) - rest_at)
        return head + (self._data.read(self._begin + rest_at, rest) if rest > 0 else b"")

    def complete(self) -> RecordingBytes:
        return self
