"""Clips and recordings to send, cut from real ones: decoded once, then only sliced."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from aircheck.load.errors import LoadError
from aircheck.shipped import shipped
from preprocessing.container import Limits
from preprocessing.decoding import SAMPLE_RATE_HZ, DecodeReport, decode
from preprocessing.errors import AudioError
from preprocessing.wave_file import wave_bytes

SAMPLE = shipped("samples/episode.mp3")
_LIMITS = Limits(max_bytes=2**31 - 1, max_duration_s=12 * 3600.0, max_channels=8, max_sample_rate_hz=192_000)
_MAX_S = 3600.0  # decoded and held: 230 MB


class Recordings:
    """Decoded audio, fp32 [samples] at 16 kHz, that clips are cut from; a clip's place follows from its index."""

    def __init__(self, path: str = ""):
        """path : a recording or a folder of them; empty: the sample episode. Raises LoadError."""
        chosen = Path(path) if path else SAMPLE
        files = sorted(file for file in chosen.rglob("*") if file.is_file()) if chosen.is_dir() else [chosen]
        parts: list[np.ndarray] = []
        held_s = 0.0
        for file in files:
            if held_s > _MAX_S:
                break
            try:
                parts.append(np.concatenate(list(decode(file.read_bytes(), _LIMITS, DecodeReport()))))
            except OSError as error:
                raise LoadError(f"audio {file}: {error.strerror}") from None
            except AudioError as error:
                if len(files) == 1:
                    raise LoadError(f"audio {file}: {error}") from None
                continue  # a folder may hold texts beside recordings
            held_s += len(parts[-1]) / SAMPLE_RATE_HZ
        if not parts:
            raise LoadError(f"audio {chosen}: holds no recording")
        self._samples = np.concatenate(parts)
        self.name = chosen.name

    @property
    def duration_s(self) -> float:
        return len(self._samples) / SAMPLE_RATE_HZ

    def samples(self, index: int, audio_s: float) -> np.ndarray:
        """fp32 [samples]: `audio_s` seconds from a place that is `index`'s; it goes on at the start after the end."""
        # multiples of the golden ratio, modulo 1, cover the recording evenly however many are taken (Weyl 1916)
        start = int((index * 0.6180339887498949 % 1.0) * len(self._samples))
        length = int(audio_s * SAMPLE_RATE_HZ)
        return self._samples.take(range(start, start + length), mode="wrap")

    def wave(self, index: int, audio_s: float) -> bytes:
        """The same as a WAVE file."""
        return wave_bytes(self.samples(index, audio_s)[None], SAMPLE_RATE_HZ)

    def pcm(self, index: int, audio_s: float) -> bytes:
        """The same as raw 16-bit samples."""
        return (np.clip(self.samples(index, audio_s), -1, 1) * 32767).astype("<i2").tobytes()
