"""A source-filter voice: laughter, babble, shouts, crying, singing and coughs that no speech synthesiser makes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.acoustic_safety.dsp import (
    Audio,
    Rng,
    add_at,
    bandpass,
    curve,
    decay,
    harmonics,
    log_uniform,
    n_samples,
    normalise,
    ramps,
    resonator,
    seconds,
    wander,
    white,
)

# First three formants of vowels, Hz (Peterson and Barney, 1952, men's means); scaled for other vocal tracts.
VOWELS_HZ = (
    (270, 2290, 3010),
    (390, 1990, 2550),
    (530, 1840, 2480),
    (660, 1720, 2410),
    (730, 1090, 2440),
    (570, 840, 2410),
    (440, 1020, 2240),
    (300, 870, 2240),
    (490, 1350, 1690),
)


def sung(rng: Rng, f0_hz: NDArray[np.float64], breath: float, tract: float) -> NDArray[np.float64]:
    """One voiced sound that follows `f0_hz` and drifts between two vowels."""
    n = len(f0_hz)
    count = int(min(60, 7600 / max(float(f0_hz.min()), 60)))
    source = harmonics(f0_hz, 1 / np.arange(1, count + 1) ** rng.uniform(0.9, 1.7))
    source += breath * white(rng, n)
    blend = curve(n, [0, 1], [0, 1])
    out = np.zeros(n)
    for weight, vowel in zip((1 - blend, blend), rng.choice(len(VOWELS_HZ), 2), strict=True):
        for gain, frequency_hz in zip((1.0, 0.6, 0.25), VOWELS_HZ[vowel], strict=True):
            out += weight * gain * resonator(source, frequency_hz * tract, rng.uniform(60, 160))
    return out


def _pitch(rng: Rng, n: int, base_hz: float, glide: float) -> NDArray[np.float64]:
    ends = base_hz * 2 ** rng.uniform(-glide, glide, 3)
    return np.asarray(curve(n, [0, 0.5, 1], ends) * (1 + 0.01 * wander(rng, n, 20)))


def _speaker(rng: Rng) -> tuple[float, float]:
    """Pitch in Hz and vocal-tract scale of a random man, woman or child."""
    base_hz = log_uniform(rng, 80, 330)
    return base_hz, float(0.92 + 0.3 * np.clip(np.log2(base_hz / 90) / 2, 0, 1) + rng.uniform(-0.05, 0.05))


def plosive(rng: Rng) -> Audio:
    """A stop consonant close to the microphone: pop, burst and breath."""
    n = n_samples(rng.uniform(0.06, 0.25))
    pop = bandpass(white(rng, n), 25, rng.uniform(90, 300)) * decay(n, rng.uniform(0.05, 0.2)) * rng.uniform(0, 6)
    burst = bandpass(white(rng, n), rng.uniform(400, 3000), 7500) * decay(n, rng.uniform(0.01, 0.06))
    breath = bandpass(white(rng, n), 800, 6000) * ramps(n, 0.02, 0.05) * rng.uniform(0, 0.2)
    return normalise(pop + burst + breath)


def murmur(rng: Rng) -> Audio:
    """Speech-like syllables of one invented speaker, 2 to 5 s."""
    base_hz, tract = _speaker(rng)
    out = np.zeros(n_samples(rng.uniform(2.0, 5.0)))
    at_s, end_s = 0.0, len(out) / 16000
    effort = log_uniform(rng, 0.9, 1.6)
    while at_s < end_s - 0.1:
        if rng.random() < 0.55:  # a consonant: stop or fricative
            if rng.random() < 0.5:
                consonant = np.asarray(plosive(rng), dtype=np.float64)
            else:
                n = n_samples(rng.uniform(0.04, 0.14))
                low_hz = rng.uniform(1200, 4500)
                consonant = bandpass(white(rng, n), low_hz, rng.uniform(low_hz + 1500, 8000)) * ramps(n, 0.02, 0.03)
            add_at(out, normalise(consonant), at_s, rng.uniform(0.1, 0.9))
            at_s += len(consonant) / 16000 * 0.7
        n = n_samples(rng.uniform(0.07, 0.3))
        vowel = sung(rng, _pitch(rng, n, base_hz * effort, 0.25), rng.uniform(0.01, 0.15), tract)
        add_at(out, normalise(vowel * ramps(n, 0.02, 0.04), 1.0), at_s, rng.uniform(0.4, 1.0))
        at_s += n / 16000 * rng.uniform(0.8, 1.0) + (rng.uniform(0.1, 0.5) if rng.random() < 0.12 else 0)
    return normalise(out)


def babble(rng: Rng) -> Audio:
    """A crowd: many murmurs at once, 3 to 6 s."""
    n = n_samples(rng.uniform(3.0, 6.0))
    out = np.zeros(n)
    for _ in range(int(rng.integers(4, 9))):
        add_at(out, murmur(rng), rng.uniform(-1.5, n / 16000 - 1.5), log_uniform(rng, 0.2, 1.0))
    return normalise(out)


def laughter(rng: Rng) -> Audio:
    """Bursts of «ha» that fall in pitch, one to three people, 1 to 4 s."""
    out = np.zeros(n_samples(rng.uniform(1.0, 4.0)))
    for _ in range(int(rng.integers(1, 4))):
        base_hz, tract = _speaker(rng)
        base_hz *= rng.uniform(1.2, 2.2)
        at_s, gap_s = rng.uniform(0, 0.5), rng.uniform(0.14, 0.26)
        while at_s < len(out) / 16000 - 0.15:
            n = n_samples(gap_s * rng.uniform(0.4, 0.75))
            note = sung(rng, _pitch(rng, n, base_hz, 0.12), rng.uniform(0.1, 0.5), tract) * ramps(n, 0.02, 0.06)
            add_at(out, normalise(note, 1.0), at_s, rng.uniform(0.3, 1.0))
            base_hz *= rng.uniform(0.95, 1.0)
            at_s += gap_s * rng.uniform(0.9, 1.15)
            if rng.random() < 0.08:
                at_s += rng.uniform(0.2, 0.6)
                base_hz = min(base_hz * 1.4, 700)
    return normalise(out)


def shout(rng: Rng) -> Audio:
    """A loud call such as «hey!»: strained but no scream, 0.3 to 1.2 s."""
    base_hz, tract = _speaker(rng)
    n = n_samples(rng.uniform(0.3, 1.2))
    f0 = np.clip(base_hz * rng.uniform(1.3, 2.0) * curve(n, [0, 0.3, 1], [0.8, 1.0, rng.uniform(0.6, 1)]), 100, 520)
    return normalise(np.tanh(2 * normalise(sung(rng, np.asarray(f0), 0.1, tract) * ramps(n, 0.03, 0.12), 1.0)))


def baby_cry(rng: Rng) -> Audio:
    """Rhythmic wails at 350 to 600 Hz, 2 to 5 s."""
    out = np.zeros(n_samples(rng.uniform(2.0, 5.0)))
    base_hz, at_s = rng.uniform(350, 600), 0.0
    while at_s < len(out) / 16000 - 0.4:
        n = n_samples(rng.uniform(0.4, 1.1))
        f0 = base_hz * curve(n, [0, 0.3, 1], [0.85, 1.05, 0.8]) * (1 + 0.01 * wander(rng, n, 20))
        add_at(
            out, normalise(sung(rng, np.asarray(f0), 0.08, 1.45) * ramps(n, 0.08, 0.15), 1.0), at_s, rng.uniform(0.6, 1)
        )
        at_s += n / 16000 + rng.uniform(0.15, 0.45)
    return normalise(out)


def singing(rng: Rng) -> Audio:
    """A sung melody with vibrato, sometimes high, 2 to 6 s."""
    base_hz, tract = _speaker(rng)
    base_hz *= float(rng.choice([1.0, 1.5, 2.0]))
    parts, left_s = [], rng.uniform(2.0, 6.0)
    while left_s > 0:
        n = n_samples(rng.uniform(0.25, 1.2))
        note_hz = base_hz * 2 ** (int(rng.choice([-5, -3, 0, 2, 4, 5, 7, 9, 12])) / 12)
        vibrato = 1 + rng.uniform(0.003, 0.025) * np.sin(2 * np.pi * rng.uniform(4.5, 6.5) * seconds(n))
        parts.append(
            sung(rng, np.clip(note_hz * vibrato, 70, 1100), rng.uniform(0.01, 0.08), tract) * ramps(n, 0.04, 0.06)
        )
        left_s -= n / 16000
    return normalise(np.concatenate(parts))


def cough(rng: Rng) -> Audio:
    """One to three coughs: a burst through the throat's resonances and a voiced end."""
    out = np.zeros(n_samples(rng.uniform(0.5, 1.6)))
    at_s = 0.0
    for _ in range(int(rng.integers(1, 4))):
        n = n_samples(rng.uniform(0.15, 0.4))
        burst = white(rng, n) * (decay(n, rng.uniform(0.1, 0.3)) + 0.15 * ramps(n, 0.05, 0.08))
        shaped = sum(
            resonator(burst, f, w)
            for f, w in ((rng.uniform(400, 900), 250), (rng.uniform(1200, 2200), 400), (3200, 900))
        )
        voiced = sung(rng, _pitch(rng, n, rng.uniform(110, 300), 0.3), 0.3, 1.0) * decay(n, 0.4)
        add_at(out, normalise(shaped, 1.0) + rng.uniform(0, 0.5) * normalise(voiced, 1.0), at_s, rng.uniform(0.5, 1))
        at_s += rng.uniform(0.25, 0.6)
    return normalise(out)


def cheering(rng: Rng) -> Audio:
    """A crowd that calls «yeah» together, 1.5 to 4 s: many strained voices, none rough or high enough for a scream."""
    n = n_samples(rng.uniform(1.5, 4.0))
    out = np.zeros(n)
    for _ in range(int(rng.integers(6, 14))):
        base_hz, tract = _speaker(rng)
        call_n = n_samples(rng.uniform(0.5, 1.5))
        f0 = np.clip(_pitch(rng, call_n, base_hz * rng.uniform(1.2, 1.8), 0.2), 90, 560)
        call = sung(rng, f0, rng.uniform(0.1, 0.3), tract) * ramps(call_n, 0.08, 0.2)
        add_at(out, normalise(call, 1.0), rng.uniform(0, max(n / 16000 - 0.6, 0.1)), log_uniform(rng, 0.2, 1.0))
    return normalise((out + 0.1 * bandpass(white(rng, n), 400, 4000)) * ramps(n, 0.2, 0.4))
