"""Music-like sound: drum kits, plucked and sustained instruments, arpeggios, chords and small arrangements."""

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
    modes,
    n_samples,
    normalise,
    phase_of,
    ramps,
    seconds,
    white,
)

SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 3, 5, 7, 10), (0, 2, 4, 7, 9))


def kick(rng: Rng) -> Audio:
    n = n_samples(rng.uniform(0.15, 0.5))
    f = curve(n, [0, 0.1, 1], [rng.uniform(120, 300), rng.uniform(50, 80), rng.uniform(38, 55)])
    click = bandpass(white(rng, n), 1500, 7000) * decay(n, 0.015) * rng.uniform(0, 0.5)
    return normalise(np.sin(phase_of(f)) * decay(n, rng.uniform(0.15, 0.6)) + click)


def snare(rng: Rng) -> Audio:
    n = n_samples(rng.uniform(0.15, 0.4))
    shell = modes(n, rng.uniform(160, 260) * np.array([1, 1.58, 2.24]), [0.2, 0.15, 0.1], [1, 0.5, 0.3], rng)
    wires = bandpass(white(rng, n), rng.uniform(800, 2000), 7800) * decay(n, rng.uniform(0.1, 0.35))
    return normalise(shell * rng.uniform(0.3, 1.0) + wires * rng.uniform(0.4, 1.2))


def tom(rng: Rng) -> Audio:
    n = n_samples(rng.uniform(0.3, 0.8))
    base_hz = rng.uniform(70, 220)
    return normalise(modes(n, base_hz * np.array([1, 1.59, 2.14, 2.3]), [0.6, 0.4, 0.3, 0.2], [1, 0.5, 0.3, 0.2], rng))


def hihat(rng: Rng) -> Audio:
    n = n_samples(log_uniform(rng, 0.04, 0.5))
    return normalise(bandpass(white(rng, n), rng.uniform(4000, 6000), 8000) * decay(n, n / 16000))


def cymbal(rng: Rng) -> Audio:
    n = n_samples(rng.uniform(0.8, 2.0))
    metal = modes(n, rng.uniform(300, 7800, 40), rng.uniform(0.5, 2.0, 40), rng.uniform(0.1, 1, 40), rng)
    return normalise(metal / 5 + bandpass(white(rng, n), 3000, 8000) * decay(n, rng.uniform(0.8, 2)))


def note(rng: Rng, timbre: str, frequency_hz: float, duration_s: float) -> NDArray[np.float64]:
    """One note of a named family of instruments."""
    n = n_samples(duration_s)
    t = seconds(n)
    flat = np.full(n, frequency_hz)
    if timbre == "pluck":  # a string: high partials die first
        out = np.zeros(n)
        for k in range(1, int(min(16, 7500 / frequency_hz)) + 1):
            out += np.sin(2 * np.pi * frequency_hz * k * t * (1 + 2e-4 * k * k)) / k * np.exp(-t * (1.5 + 0.8 * k))
        return out
    if timbre == "bell":
        return modes(
            n, frequency_hz * np.array([1, 2.0, 2.76, 5.4, 8.9]), [2.5, 2, 1.5, 0.8, 0.4], [1, 0.6, 0.5, 0.3, 0.2], rng
        )
    if timbre == "organ":
        return harmonics(flat, [1, 0.6, 0.4, 0.3, 0, 0.2, 0, 0.2]) * ramps(n, 0.02, 0.05)
    if timbre == "bow":
        vibrato = flat * (1 + 0.006 * np.sin(2 * np.pi * 5.5 * t))
        return harmonics(vibrato, 1 / np.arange(1, 20)) * ramps(n, 0.1, 0.12)
    if timbre == "flute":
        breath = bandpass(white(rng, n), 1000, 6000) * 0.04
        return (harmonics(flat * (1 + 0.004 * np.sin(2 * np.pi * 5 * t)), [1, 0.3, 0.12, 0.05]) + breath) * ramps(
            n, 0.06, 0.08
        )
    if timbre == "brass":
        return np.tanh(2 * harmonics(flat, 1 / np.arange(1, 12) ** 0.7)) * ramps(n, 0.05, 0.08)
    if timbre == "lead":  # a synthesiser that may glide
        glide = frequency_hz * curve(n, [0, 0.15, 1], [2 ** rng.uniform(-0.3, 0.3), 1, 1])
        return np.sign(np.sin(phase_of(glide))) * 0.5 * ramps(n, 0.01, 0.05)
    if timbre == "distorted":
        chord = harmonics(flat, 1 / np.arange(1, 10)) + harmonics(flat * 1.4983, 1 / np.arange(1, 8))
        return bandpass(np.tanh(6 * chord), 80, 5000) * ramps(n, 0.005, 0.05)
    if timbre == "bass":
        return harmonics(flat / 2, [1, 0.7, 0.4, 0.2, 0.1]) * decay(n, 2.0)
    raise ValueError(f"no timbre named {timbre!r}")


TIMBRES = ("pluck", "bell", "organ", "bow", "flute", "brass", "lead", "distorted")


def _drum_track(rng: Rng, n: int, beat_s: float) -> NDArray[np.float64]:
    out = np.zeros(n)
    kit = {"kick": kick(rng), "snare": snare(rng), "hat": hihat(rng), "tom": tom(rng), "cymbal": cymbal(rng)}
    step_s = beat_s / 2
    odds = {"hat": rng.uniform(0.4, 1.0), "tom": rng.uniform(0, 0.15), "cymbal": rng.uniform(0, 0.06)}
    gains = {name: log_uniform(rng, 0.3, 1.0) for name in kit}
    for step in range(int(n / 16000 / step_s) + 1):
        hits = {"kick"} if step % 4 == 0 or rng.random() < 0.15 else set()
        hits |= {"snare"} if step % 4 == 2 or rng.random() < 0.08 else set()
        hits |= {name for name, chance in odds.items() if rng.random() < chance}
        for name in sorted(hits):
            add_at(out, kit[name], step * step_s, gains[name] * rng.uniform(0.7, 1.0))
    return out


def drums(rng: Rng) -> Audio:
    """A drum kit playing a pattern, or a few loose hits, 1.5 to 6 s."""
    n = n_samples(rng.uniform(1.5, 6.0))
    if rng.random() < 0.7:
        return normalise(_drum_track(rng, n, 60 / rng.uniform(70, 170)))
    out = np.zeros(n)
    for _ in range(int(rng.integers(1, 6))):
        hit = (kick, snare, tom, cymbal)[int(rng.integers(4))](rng)
        add_at(out, hit, rng.uniform(0, n / 16000 - 0.3), rng.uniform(0.4, 1.0))
    return normalise(out)


def arrangement(rng: Rng, duration_s: float | None = None) -> Audio:
    """Chords, bass, melody and drums in one key; any part may be missing. 4 to 10 s unless told."""
    n = n_samples(duration_s if duration_s is not None else rng.uniform(4.0, 10.0))
    beat_s = 60 / rng.uniform(60, 165)
    root_hz = 110 * 2 ** (rng.integers(0, 12) / 12)
    scale = SCALES[int(rng.integers(len(SCALES)))]
    out = np.zeros(n)
    has = {
        "chords": rng.random() < 0.7,
        "bass": rng.random() < 0.6,
        "melody": rng.random() < 0.7,
        "drums": rng.random() < 0.5,
    }
    if not any(has.values()):
        has["melody"] = True

    def pitch(degree: int, octave: int) -> float:
        return float(root_hz * 2 ** (octave + degree // len(scale) + scale[degree % len(scale)] / 12))

    def level() -> float:
        return log_uniform(rng, 0.25, 1.0)

    chord_timbre, melody_timbre = (str(rng.choice(TIMBRES)) for _ in range(2))
    chord_level, bass_level, melody_level = level(), level(), level()
    bar_s, at_s = 4 * beat_s, 0.0
    while at_s < n / 16000:
        degree = int(rng.choice([0, 3, 4, 5, 1]))
        if has["chords"]:
            strum = rng.random() < 0.5
            for beat in range(4 if strum else 1):
                for third in (0, 2, 4):
                    tone = note(rng, chord_timbre, pitch(degree + third, 1), bar_s / (4 if strum else 1))
                    add_at(out, normalise(tone, 1.0), at_s + beat * beat_s, chord_level / 3)
        if has["bass"]:
            for beat in range(4):
                add_at(
                    out, normalise(note(rng, "bass", pitch(degree, 0), beat_s), 1.0), at_s + beat * beat_s, bass_level
                )
        if has["melody"]:
            position_s = 0.0
            while position_s < bar_s:
                length_s = beat_s * float(rng.choice([0.25, 0.5, 1, 2]))
                tone = note(rng, melody_timbre, pitch(degree + int(rng.integers(-3, 8)), 2), length_s)
                add_at(out, normalise(tone, 1.0), at_s + position_s, melody_level)
                position_s += length_s
        at_s += bar_s
    if has["drums"]:
        out += level() * 2 * np.asarray(_drum_track(rng, n, beat_s), dtype=np.float64)
    return normalise(np.tanh(log_uniform(rng, 0.4, 2) * normalise(out, 1.0)) * ramps(n, 0.01, 0.1))
