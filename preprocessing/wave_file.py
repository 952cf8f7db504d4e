"""RIFF WAVE files: what the header says against what follows, and writing them.

Sizes come from Microsoft's "Multimedia Programming Interface and Data Specifications 1.0" (RIFF chunks).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from preprocessing.recording_bytes import RecordingBytes, recording_bytes

# A writer that cannot seek back (a pipe) leaves a size it made up: 0x7FFFF000 (eSpeak), 0x7FFFFF00, 0x80000000
# (arecord), 0xFFFFFF00, 0xFFFFFFFF (FFmpeg), 0. A true size of 2 GB or more does not fit the limit on a request.
_MIN_PLACEHOLDER_BYTES = 0x7F00_0000
_HEADER_BYTES = 44  # of what `wave_bytes` makes
_MAX_CHUNKS = 10_000  # that are looked at: a true file has a handful
_MIN_UNDECLARED_BYTES = 256  # less than this after the last chunk is a writer's padding, not sound


@dataclass(frozen=True)
class WaveSizes:
    """A RIFF WAVE's data chunk: what its header claims and what is there."""

    start: int  # the offset of the data in the file
    claimed_bytes: int
    held_bytes: int  # from the start of the data to the end of the file
    undeclared_bytes: int  # behind the data, and part of no chunk

    @property
    def placeholder(self) -> bool:
        """The size was made up by a writer that did not know it yet: the data end where the file ends."""
        beyond = self.claimed_bytes > self.held_bytes and self.claimed_bytes >= _MIN_PLACEHOLDER_BYTES
        return beyond or (self.claimed_bytes == 0 and self.undeclared_bytes > 0)

    @property
    def truncated(self) -> bool:
        """The header claims more than there is."""
        return self.claimed_bytes > self.held_bytes and not self.placeholder


def wave_sizes(data: bytes | memoryview | RecordingBytes) -> WaveSizes | None:
    """The sizes of a RIFF WAVE's data chunk; None for anything else, and for a WAVE without a data chunk.

    Of a file that is still arriving it waits for the end.
    """
    data = recording_bytes(data)
    head = data.read(0, 12)
    if head[:4] != b"RIFF" or head[8:] != b"WAVE":
        return None
    data = data.complete()
    for name, at, size in _chunks(data, 12):
        if name == b"data":
            held = (data.size or 0) - at
            return WaveSizes(at, size, held, _undeclared_bytes(data, at + size + size % 2) if size <= held else 0)
    return None


def stated_wave_duration_s(data: RecordingBytes) -> float | None:
    """The seconds that a RIFF WAVE's header claims; None where it claims none that a writer can have known.

    Only the chunks before the sound are read, so a file that is still arriving is not waited for.
    """
    head = data.read(0, 12)
    if head[:4] != b"RIFF" or head[8:] != b"WAVE":
        return None
    bytes_per_s = 0
    for name, at, size in _chunks(data, 12):
        if name == b"fmt ":
            rate = data.read(at + 8, 4)
            bytes_per_s = int.from_bytes(rate, "little")
        if name == b"data":
            return size / bytes_per_s if bytes_per_s and 0 < size < _MIN_PLACEHOLDER_BYTES else None
    return None


def wave_bytes(samples: np.ndarray, sample_rate_hz: int) -> bytes:
    """fp32 samples [channels, samples] as a WAVE_FORMAT_IEEE_FLOAT file."""
    channels = samples.shape[0]
    body = np.ascontiguousarray(samples.T, dtype="<f4").tobytes()
    header = struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        *(b"RIFF", 36 + len(body), b"WAVE", b"fmt ", 16),
        *(3, channels, sample_rate_hz, 4 * channels * sample_rate_hz, 4 * channels, 32),
        *(b"data", len(body)),
    )
    return header + body


def wave_samples(wave: bytes) -> np.ndarray:
    """The samples of what `wave_bytes` made, fp32 [channels, samples]."""
    channels = struct.unpack_from("<H", wave, 22)[0]
    return np.frombuffer(wave, "<f4", offset=_HEADER_BYTES).reshape(-1, channels).T


def _undeclared_bytes(data: RecordingBytes, at: int) -> int:
    """Bytes from `at` on that are no RIFF chunks."""
    file_end = data.size or 0
    for name, body, size in _chunks(data, at):
        if not all(0x20 <= byte < 0x7F for byte in name) or body + size > file_end:
            break
        at = body + size + size % 2
    left = file_end - at
    return left if left >= _MIN_UNDECLARED_BYTES else 0


def _chunks(data: RecordingBytes, at: int) -> Iterator[tuple[bytes, int, int]]:
    """The RIFF chunks from `at` on: name, offset of the body, and the size that is stated."""
    for _ in range(_MAX_CHUNKS):
        header = data.read(at, 8)
        if len(header) < 8:
            return
        name, size = struct.unpack("<4sI", header)
        yield name, at + 8, size
        at += 8 + size + size % 2
