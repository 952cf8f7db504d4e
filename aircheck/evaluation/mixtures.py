"""Harmful sounds under speech: each event somewhere in a piece of talk, so much quieter or louder than it.

Speech is recorded close and loud, and what happens in the room is not: an event by itself says little about whether it
is found in a programme.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Audio = NDArray[np.float32]

SAMPLE_RATE = 16_000
SAMPLES = 81_920  # of a mixture, 5.12 s
SPEECH_LOUDER_DB = (-10.0, 0.0, 10.0)
PEAK = 0.5
_CELL_SAMPLES = 320  # 20 ms, in which levels are taken
_SEED = 7


def loudness(audio: Audio) -> float:
    """RMS of the loudest tenth of a second, five cells: bangs and words alike are compared where they sound."""
    power = np.square(audio.astype(np.float64)).reshape(-1, _CELL_SAMPLES).mean(1)
    return float(np.sqrt(np.quantile(np.convolve(power, np.ones(5) / 5, "valid"), 0.98)))


def under_speech(events: Sequence[Audio], voices: Sequence[Audio], louder_db: float) -> list[Audio]:
    """Each event at a random place of a random voice, the same ones at every level.

    Args:
        events, voices: 16 kHz mono. Of an event that is longer than a mixture, the part around its loudest sample.
        louder_db: the speech over the event, each by its `loudness`.

    Returns:
        fp32 [SAMPLES] for each event, at a peak of `PEAK`.
    """
    rng = np.random.default_rng(_SEED)
    return [_mix(rng, event, voices, louder_db) for event in events]


def _mix(rng: np.random.Generator, event: Audio, voices: Sequence[Audio], louder_db: float) -> Audio:
    if len(event) > SAMPLES:
        loudest = int(np.abs(event).argmax())
        first = min(max(0, loudest - SAMPLES // 2), len(event) - SAMPLES)
        event = event[first : first + SAMPLES]
    voice = voices[int(rng.integers(len(voices)))]
    first = int(rng.integers(max(1, len(voice) - SAMPLES)))
    voice = voice[first : first + SAMPLES]
    mixture, placed = np.zeros(SAMPLES, np.float32), np.zeros(SAMPLES, np.float32)
    mixture[: len(voice)] = voice
    at = int(rng.integers(SAMPLES - len(event) + 1))
    placed[at : at + len(event)] = event
    mixture += placed * (loudness(mixture) / max(loudness(placed), 1e-6) * 10 ** (-louder_db / 20))
    scaled: Audio = (mixture * (PEAK / np.abs(mixture).max())).astype(np.float32)
    return scaled
