"""Every sound that this project synthesises, by name: events, and what the sample episode and the tests set beside.

`SOUNDS[name](np.random.default_rng(seed))` gives one example: 16 kHz mono fp32, peak 0.5, never two alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from training.acoustic_safety import music
from training.acoustic_safety.dsp import (
    SAMPLE_RATE,
    Audio,
    Rng,
    add_at,
    bandpass,
    decay,
    log_uniform,
    modes,
    n_samples,
    normalise,
    white,
)
from training.acoustic_safety.events import explosion, glass_breaking, gunshot, scream, siren

Sound = Callable[[np.random.Generator], Audio]


def door_slam(rng: Rng) -> Audio:
    """A dull thump of a door's panel with a rattling latch: little above 2 kHz, and a short room."""
    n = n_samples(rng.uniform(0.5, 1.2))
    count = int(rng.integers(4, 9))
    panel = modes(n, rng.uniform(45, 380, count), rng.uniform(0.08, 0.35, count), rng.uniform(0.3, 1, count), rng)
    thump = bandpass(white(rng, n), 40, log_uniform(rng, 300, 1500)) * decay(n, rng.uniform(0.06, 0.25)) * 2
    out = panel / np.sqrt(count) + thump
    for _ in range(int(rng.integers(1, 4))):
        latch_n = n_samples(0.05)
        latch = modes(latch_n, rng.uniform(900, 4000, 5), rng.uniform(0.01, 0.05, 5), np.ones(5), rng)
        add_at(out, latch, rng.uniform(0, 0.12), rng.uniform(0.02, 0.15))
    return normalise(out)


EVENTS: Mapping[str, Sound] = {
    "gunshot": gunshot,
    "explosion": explosion,
    "scream": scream,
    "siren": siren,
    "glass_breaking": glass_breaking,
}
SOUNDS: Mapping[str, Sound] = {**EVENTS, "music": music.arrangement, "drums": music.drums, "door_slam": door_slam}

__all__ = ["EVENTS", "SAMPLE_RATE", "SOUNDS", "Sound"]
