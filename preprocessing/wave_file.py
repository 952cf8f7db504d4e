"""RIFF WAVE files: what the header says against what follows, and writing them.

Sizes come from Microsoft's "Multimedia Programming Interface and Data Specifications 1.0" (RIFF chunks).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

# A writer that cannot seek back (a pipe) leaves a size it made up: 0x7FFFF000 (eSpeak), 0x7FFFFF00, 0x80000000
# (arecord), 0xFFFFFF00, 0xFFFFFFFF (FFmpeg), 0. A true size of 2 GB or more does not fit the limit on a request.
_MIN_PLACEHOLDER_BYTES = 0x7F00_0000
_HEADER_BYTES = 44  # of what `wave_bytes` makes
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


def wave_sizes(data: bytes | memoryview) -> WaveSizes | None:
    """The sizes of a RIFF WAVE's data chunk; None for anything else, and for a WAVE without a data chunk."""
    if bytes(data[:4]) != b"RIFF" or bytes(data[8:12]) != b"WAVE":
        return None
    at = 12
    while at + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, at)
        at += 8
        if name == b"data":
            held = len(data) - at
            return WaveSizes(at, size, held, _undeclared_bytes(data, at + size + size % 2) if size <= held else 0)
        at += size + size % 2
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


def _undeclared_bytes(data: bytes | memoryview, at: int) -> int:
    """Bytes from `at` on that are no RIFF chunks."""
    while at + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, at)
        end = at + 8 + size
        if not all(0x20 <= byte < 0x7F for byte in name) or end > len(data):
            break
        at = end + size % 2
    left = len(data) - at
    return left if left >= _MIN_UNDECLARED_BYTES else 0
