"""Short pieces of audio for the report's players: mono, low bit rate, embedded in the page."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import av
import numpy as np

from benchmarks.quality.report import Miss
from benchmarks.quality.server_scorer import LIMITS
from preprocessing.decoding import DecodeReport, decode
from preprocessing.errors import AudioError

MAX_TOTAL_BYTES = 3 * 2**20  # of all players together, encoded
_RATE_HZ = 16_000
_BIT_RATE = 24_000
_AROUND_S = 1.0
_MAX_S = 8.0


class Clips:
    """Players, until the page has enough of them."""

    def __init__(self, folder: Path, max_total_bytes: int = MAX_TOTAL_BYTES):
        """`folder`: the manifest's."""
        self._folder, self._left = folder, max_total_bytes
        self.left_out = 0
        self.total_bytes = 0

    def data_uri(self, miss: Miss) -> str | None:
        """An MP3 of what is heard around a mistake; None without audio, or when the page is full."""
        if miss.audio is None:
            return None
        try:
            samples = cut((self._folder / miss.audio).read_bytes(), miss.start_s, miss.end_s)
        except (OSError, AudioError):
            return None
        encoded = mp3(samples)
        if len(encoded) > self._left:
            self.left_out += 1
            return None
        self._left -= len(encoded)
        self.total_bytes += len(encoded)
        return "data:audio/mpeg;base64," + base64.b64encode(encoded).decode()


def cut(audio: bytes, start_s: float | None, end_s: float | None) -> np.ndarray:
    """fp32 [samples], 16 kHz: from a second before the start to a second after the end, at most 8 s. Raises AudioError.

    Decodes no further than it must.
    """
    first_s = max(0.0, (start_s or 0.0) - _AROUND_S)
    last_s = min(first_s + _MAX_S, (end_s + _AROUND_S) if end_s is not None else first_s + _MAX_S)
    held, seen = [], 0
    for block in decode(memoryview(audio), LIMITS, DecodeReport()):
        held.append(block)
        seen += len(block)
        if seen >= last_s * _RATE_HZ:
            break
    whole = np.concatenate(held) if held else np.zeros(0, np.float32)
    return whole[int(first_s * _RATE_HZ) : int(last_s * _RATE_HZ)]


def mp3(samples: np.ndarray) -> bytes:
    """fp32 [samples] at 16 kHz as MP3, which every browser plays."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp3") as container:
        stream = container.add_stream("libmp3lame", rate=_RATE_HZ, layout="mono")
        stream.bit_rate = _BIT_RATE
        size = 576  # samples of an MP3 frame at 16 kHz
        for first in range(0, len(samples), size):
            part = np.ascontiguousarray(samples[None, first : first + size], dtype=np.float32)
            frame = av.AudioFrame.from_ndarray(part, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = _RATE_HZ, first
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()
