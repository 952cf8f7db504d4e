"""Sound that is not speech: noise of every colour, tones, chords and tunes, clicks, knocks, hum, engines, rain, and all
the sounds of the acoustic recipe (shots, sirens, dogs, applause, drums ...).

Usage: python -m training.whisper.sounds OUT --count 1500

Windows of it teach the model to stay silent, and mixed under speech they are its background. Everything is computed
from a random generator: no recordings. Writes OUT.npz: `mel` fp16 [frames, 80] (see speak.log_mel) and `offsets`.
"""

import argparse
from collections.abc import Callable
from multiprocessing import Pool
from pathlib import Path

import numpy as np
from scipy.signal import butter, sosfilt

from training.acoustic_safety.sounds import EVENTS, LOOKALIKES, MUSIC

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


def applause(n: int, rng: Rng) -> np.ndarray:
    """Many hands: claps of a few ms, each hand at its own beat, swelling and dying."""
    x, t = np.zeros(n + 400), time_of(n)
    for _ in range(int(rng.integers(3, 60))):
        at, beat = rng.uniform(0, 0.5), rng.uniform(0.15, 0.4)
        low = rng.uniform(500, 2000)
        clap = sosfilt(butter(2, [low, low * 2.5], "band", fs=SAMPLE_RATE, output="sos"), rng.standard_normal(400))
        clap *= np.exp(-np.arange(400) / rng.uniform(20, 100)) * rng.uniform(0.1, 1)
        while (start := int(at * SAMPLE_RATE)) < n:
            x[start : start + 400] += clap
            at += beat * rng.uniform(0.85, 1.15)
    return x[:n] * (0.3 + np.sin(np.pi * np.minimum(1, t / max(t[-1], 0.1))) ** rng.uniform(0, 2))


def acoustic(n: int, rng: Rng) -> np.ndarray:
    """One to five sounds of the acoustic recipe, one after the other or over each other, half of them on a floor."""
    sounds = [*EVENTS.values(), *MUSIC.values(), *(make for name, make in LOOKALIKES.items() if name != "babble")]
    x = np.zeros(n)
    for _ in range(int(rng.integers(1, 6))):
        one = sounds[int(rng.integers(len(sounds)))](rng)[:n]
        start = int(rng.integers(0, n - len(one) + 1))
        x[start : start + len(one)] += one * 10 ** rng.uniform(-1, 0)
    floor = coloured_noise(n + n % 2, rng)[:n]
    return x + floor / max(floor.std(), 1e-9) * 10 ** rng.uniform(-4, -1.5) * (rng.random() < 0.5)


KINDS: list[Callable[[int, Rng], np.ndarray]] = [
    coloured_noise, band_noise, held_tones, sweep, tune, hits, hum, rain, silence, applause, acoustic,
]  # fmt: skip
_SHARES = np.array([1, 1, 1, 1, 2, 1, 1, 1, 1, 1, 5]) / 16


def sound(seconds: float, rng: Rng, kind: str | None = None) -> tuple[str, np.ndarray]:
    """-> kind, fp32 [seconds * 16000]; a third of the sounds begin or end within the clip."""
    make = next((k for k in KINDS if k.__name__ == kind), KINDS[rng.choice(len(KINDS), p=_SHARES)])
    n = 2 * int(seconds * SAMPLE_RATE / 2)
    x = make(n, rng)
    if rng.random() < 0.33:
        edge = int(rng.uniform(0.1, 0.7) * n)
        x[slice(edge) if rng.random() < 0.5 else slice(edge, None)] = 0
    level = 10 ** (rng.uniform(-4, -2.5) if make is silence else rng.uniform(-2.2, 0))
    return make.__name__, (x / max(np.abs(x).max(), 1e-9) * level).astype(np.float32)


def mel_of(seed: int) -> np.ndarray:
    from training.whisper.speak import log_mel

    rng = np.random.default_rng([2026, seed])
    return log_mel(sound(rng.uniform(5, 13), rng)[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="file to write, without suffix")
    parser.add_argument("--count", type=int, default=1500, help="sounds of 5 to 13 s")
    parser.add_argument("--seed", type=int, default=0, help="number of the first sound")
    parser.add_argument("--workers", type=int, default=None, help="processes, default one a core")
    o = parser.parse_args()
    mels = []
    with Pool(o.workers) as pool:
        for done, mel in enumerate(pool.imap(mel_of, range(o.seed, o.seed + o.count), chunksize=8), start=1):
            mels.append(mel)
            if done % 200 == 0:
                print(f"{done}/{o.count} sounds", flush=True)
    o.out.parent.mkdir(parents=True, exist_ok=True)
    np.savez(o.out.with_suffix(".npz"), mel=np.concatenate(mels), offsets=np.cumsum([0, *map(len, mels)]))


if __name__ == "__main__":
    main()
