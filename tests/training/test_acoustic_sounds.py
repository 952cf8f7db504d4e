"""The synthesised sounds: well-formed, reproducible, varied."""

from __future__ import annotations

import numpy as np
import pytest

from aircheck.inference.acoustic_safety.events import SAFETY_EVENTS
from training.acoustic_safety.sounds import EVENTS, SAMPLE_RATE, SOUNDS


@pytest.mark.parametrize("name", sorted(SOUNDS))
def test_a_sound_is_mono_fp32_at_half_scale_and_follows_its_seed(name: str) -> None:
    make = SOUNDS[name]
    sound, again, other = (make(np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert sound.dtype == np.float32
    assert sound.ndim == 1
    assert np.isfinite(sound).all()
    assert np.abs(sound).max() == pytest.approx(0.5, abs=1e-3)
    assert np.array_equal(sound, again)
    assert not np.array_equal(sound[: len(other)], other[: len(sound)])


def test_every_safety_event_can_be_synthesised() -> None:
    assert set(SAFETY_EVENTS) == set(EVENTS)


def low_share(sound: np.ndarray) -> float:
    """Of its energy below 150 Hz."""
    power = np.abs(np.fft.rfft(sound)) ** 2
    return float(power[np.fft.rfftfreq(len(sound), 1 / SAMPLE_RATE) < 150].sum() / power.sum())


def test_a_blast_is_low_and_a_shot_is_not() -> None:
    shots = [low_share(SOUNDS["gunshot"](np.random.default_rng(seed))) for seed in range(30)]
    blasts = [low_share(SOUNDS["explosion"](np.random.default_rng(seed))) for seed in range(30)]
    assert np.median(shots) < 0.5 < np.quantile(blasts, 0.1)
    assert np.quantile(shots, 0.9) < np.quantile(blasts, 0.1)
