"""Recordings of people, which lie beside the repository where they are at hand; tests that need them skip elsewhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from preprocessing.container import Limits
from preprocessing.decoding import DecodeReport, decode

SPEECH = Path(__file__).parents[3] / "shared" / "data" / "speech"
_LIMITS = Limits(max_bytes=2**26, max_duration_s=60, max_channels=2, max_sample_rate_hz=48_000)


def human_speech() -> list[np.ndarray]:
    """The LibriSpeech clips, fp32 [samples] each, 16 kHz mono."""
    blocks = (decode(path.read_bytes(), _LIMITS, DecodeReport()) for path in sorted(SPEECH.glob("libri_*")))
    return [np.concatenate(list(clip)) for clip in blocks]
