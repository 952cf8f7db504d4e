"""Kinds and ranges that only the evaluation hears: none of them is in the training set, nor are the voices
of `speech.held_out_speech`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from training.acoustic_safety import events
from training.acoustic_safety.dsp import (
    Audio,
    Rng,
    add_at,
    bandpass,
    decay,
    log_uniform,
    modes,
    n_samples,
    normalise,
    ramps,
    seconds,
    white,
)
from training.acoustic_safety.sounds import Sound
from training.acoustic_safety.speech import held_out_speech

HALL_T60_S = (1.3, 2.5)  # training's rooms end at 1.2 s
CODECS = (("ogg", "libopus"),)  # training's are MP3 and AAC


def large_bore_gunshot(rng: Rng) -> Audio:
    """Shots with a positive phase of 3 to 5 ms (training: up to 3), single or at 1,000 to 1,300 a minute."""
    one = events.shot(rng, blast_s=(3e-3, 5e-3))
    count, gap_s = (1, 0.0) if rng.random() < 0.5 else (int(rng.integers(4, 12)), rng.uniform(0.046, 0.058))
    out = np.zeros(len(one) + n_samples(count * gap_s))
    for index in range(count):
        add_at(out, one, index * gap_s, rng.uniform(0.75, 1.0))
    return normalise(events.saturate(rng, out, 12.0))


def long_explosion(rng: Rng) -> Audio:
    """Blasts of 6.5 to 9 s (training: up to 6)."""
    return events.explosion(rng, duration_s=(6.5, 9.0))


def shrill_scream(rng: Rng) -> Audio:
    """Cries that rise to 2,150 to 2,700 Hz (training: up to 2,100)."""
    return events.cries(rng, [events.cry(rng, top_hz=(2150, 2700)) for _ in range(int(rng.integers(1, 3)))])


def three_tone_siren(rng: Rng) -> Audio:
    """Three steady pitches in turn; training has two-tone sirens and gliding ones."""
    n = n_samples(rng.uniform(3.0, 8.0))
    pitches_hz = rng.uniform(380, 700) * np.array([1.0, rng.uniform(1.15, 1.35), rng.uniform(1.4, 1.8)])
    step = (seconds(n) / rng.uniform(0.2, 0.6)).astype(int) + int(rng.integers(3))
    return events.horn(rng, pitches_hz[step % 3])


def safety_glass(rng: Rng) -> Audio:
    """Tempered glass: it falls at once into hundreds of small, high crumbs; training has panes and bottles."""
    n = n_samples(rng.uniform(0.6, 1.6))
    out = np.zeros(n)
    burst_n = n_samples(0.1)
    add_at(out, bandpass(white(rng, burst_n), 1200, 8000) * decay(burst_n, rng.uniform(0.05, 0.15)), 0.0, 1.0)
    for at_s in rng.exponential(n / 16000 * rng.uniform(0.12, 0.25), int(rng.integers(150, 300))):
        crumb_n = n_samples(0.06)
        frequencies_hz = log_uniform(rng, 3000, 6000) * rng.uniform(0.8, 1.3, 3)
        crumb = modes(crumb_n, frequencies_hz, rng.uniform(0.01, 0.06, 3), rng.uniform(0.3, 1.0, 3), rng)
        add_at(out, crumb, float(at_s), log_uniform(rng, 0.1, 0.6))
    return normalise(np.tanh(log_uniform(rng, 0.3, 3) * normalise(out, 1.0)) * ramps(n, 0.0, 0.05))


EVENTS: Mapping[str, Sound] = {
    "gunshot": large_bore_gunshot,
    "explosion": long_explosion,
    "scream": shrill_scream,
    "siren": three_tone_siren,
    "glass_breaking": safety_glass,
}

__all__ = ["CODECS", "EVENTS", "HALL_T60_S", "held_out_speech"]
