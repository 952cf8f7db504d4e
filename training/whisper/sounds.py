"""Sound that is not speech: noise of every colour, tones, chords and tunes, clicks, knocks, hum, engines, rain.

Windows of it teach the model to stay silent, and mixed under speech they are its background. Everything is computed
from a random generator: no recordings.
"""

from collections.abc import Callable

import numpy as np
from scipy.signal import butter, sosfilt

SAMPLE_RATE = 16000
Rng = np.random.Generator


def coloured_noise(n: int, rng: Rng) -> np.ndarray:
    """Power falls (or rises) as f^-exponent, exponent in -1 to 2: blue, white, pink, brown and between."""
    spectrum = rng.standard_normal(n // 2 + 1) + 1j * rng.standard_normal(n // 2 + 1)
    frequency = np.maximum(np.arange(n // 2 + 1), 1)
    return np.fft.irfft(spectrum * frequency ** (-rng.uniform(-1, 2) / 2), n)


def band_noise(n: int, rng: Rng) -> np.ndarray:
    """Wind, hiss, surf: noise in a band, swelling slowly."""
    low = rng.uniform(60, 3000)
    sos = butter(2, [low, min(low * rng.uniform(1.3, 6), 7600)], "band", fs=SAMPLE_RATE, output="sos")
    swell = 1 + rng.uniform(0, 0.9) * np.sin(2 * np.pi * rng.uniform(0.1, 4) * time_of(n) + rng.uniform(0, 6))
    return sosfilt(sos, rng.standard_normal(n)) * swell


def time_of(n: int) -> np.ndarray:
    return np.arange(n) / SAMPLE_RATE


def note(n: int, hertz: float, rng: Rng, decay: float) -> np.ndarray:
    """A plucked or held note with a few harmonics; decay per second."""
    t = time_of(n)
    harmonics = range(1, 1 + min(int(rng.integers(1, 9)), int(7600 / hertz)) or 2)
    tone = sum(np.sin(2 * np.pi * hertz * k * t + rng.uniform(0, 6)) * k ** -rng.uniform(0.5, 2) for k in harmonics)
    return tone * np.exp(-decay * t) * np.minimum(1, t / 0.01)


def held_tones(n: int, rng: Rng) -> np.ndarray:
    """One to four steady tones: beeps, a dial tone, a test tone, a chord."""
    return np.sum([note(n, rng.uniform(60, 3000), rng, 0.0) for _ in range(rng.integers(1, 5))], axis=0)


def sweep(n: int, rng: Rng) -> np.ndarray:
    """A siren or a chirp."""
    t, base = time_of(n), rng.uniform(200, 2000)
    hertz = base * (1 + rng.uniform(0.1, 0.8) * np.sin(2 * np.pi * rng.uniform(0.2, 6) * t))
    return np.sin(2 * np.pi * np.cumsum(hertz) / SAMPLE_RATE)


def tune(n: int, rng: Rng) -> np.ndarray:
    """Notes and chords of one scale at a steady beat, sometimes with drums."""
    x, beat = np.zeros(n), int(SAMPLE_RATE * rng.uniform(0.12, 0.7))
    scale = rng.uniform(90, 400) * 2 ** (np.array([0, 2, 4, 5, 7, 9, 11, 12, 14, 16]) / 12)
    decay, chords, drums = rng.uniform(0.3, 8), rng.random() < 0.5, rng.random() < 0.4
    for at in range(0, n, beat):
        length = min(n - at, int(beat * rng.uniform(1, 4)))
        for _ in range(3 if chords and rng.random() < 0.5 else 1):
            x[at : at + length] += note(length, rng.choice(scale), rng, decay)
        if drums:
            x[at : at + length] += 2 * knock(length, rng)
    return x


def knock(n: int, rng: Rng) -> np.ndarray:
    """One hit: a burst of noise and a low tone that die away."""
    t = time_of(n)
    burst = rng.standard_normal(n) * np.exp(-rng.uniform(20, 200) * t)
    return burst * rng.uniform(0, 1) + np.sin(2 * np.pi * rng.uniform(40, 900) * t) * np.exp(-rng.uniform(8, 60) * t)


def hits(n: int, rng: Rng) -> np.ndarray:
    """Clicks, knocks, shots, footsteps: single hits at random or steady times over a faint floor."""
    x = 1e-4 * rng.standard_normal(n)
    steady = rng.random() < 0.5
    gap = rng.uniform(0.08, 1.2)
    at = rng.uniform(0, 1.0)
    while at * SAMPLE_RATE < n - 400:
        start = int(at * SAMPLE_RATE)
        length = min(n - start, int(0.6 * SAMPLE_RATE))
        x[start : start + length] += knock(length, rng) * rng.uniform(0.3, 1)
        at += gap if steady else rng.exponential(gap) + 0.05
    return x


def hum(n: int, rng: Rng) -> np.ndarray:
    """Mains hum, motors, engines: many harmonics of a low tone that wobbles, with noise."""
    hertz = rng.uniform(20, 160) * (1 + rng.uniform(0, 0.1) * np.sin(2 * np.pi * rng.uniform(0.1, 8) * time_of(n)))
    phase = 2 * np.pi * np.cumsum(hertz) / SAMPLE_RATE
    tone = sum(np.sin(k * phase + rng.uniform(0, 6)) * k ** -rng.uniform(0.4, 1.5) for k in range(1, 20))
    return tone + rng.uniform(0, 1) * coloured_noise(n, rng)


def rain(n: int, rng: Rng) -> np.ndarray:
    """Rain, crackle, applause: a storm of tiny clicks."""
    drops = (rng.random(n) < rng.uniform(0.0003, 0.05)) * rng.standard_normal(n)
    sos = butter(2, [rng.uniform(300, 1500), rng.uniform(2500, 7500)], "band", fs=SAMPLE_RATE, output="sos")
    return sosfilt(sos, drops)


def silence(n: int, rng: Rng) -> np.ndarray:
    """The floor of a quiet recording."""
    return coloured_noise(n, rng)


KINDS: list[Callable[[int, Rng], np.ndarray]] = [
    coloured_noise, band_noise, held_tones, sweep, tune, hits, hum, rain, silence,
]  # fmt: skip


def sound(seconds: float, rng: Rng, kind: str | None = None) -> tuple[str, np.ndarray]:
    """-> kind, fp32 [seconds * 16000]; a third of the sounds begin or end within the clip."""
    make = next((k for k in KINDS if k.__name__ == kind), KINDS[rng.integers(len(KINDS))])
    n = int(seconds * SAMPLE_RATE)
    x = make(n, rng)
    if rng.random() < 0.33:
        edge = int(rng.uniform(0.1, 0.7) * n)
        x[slice(edge) if rng.random() < 0.5 else slice(edge, None)] = 0
    level = 10 ** (rng.uniform(-4, -2.5) if make is silence else rng.uniform(-2.2, 0))
    return make.__name__, (x / max(np.abs(x).max(), 1e-9) * level).astype(np.float32)
