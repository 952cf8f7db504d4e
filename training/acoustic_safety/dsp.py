"""Signal-processing bricks of the sound synthesis: noises, filters, envelopes, oscillators.

Everything is mono at `SAMPLE_RATE` and returns fp32; randomness comes only from the generator passed in.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import fft, signal

SAMPLE_RATE = 16_000
NYQUIST_HZ = SAMPLE_RATE / 2

Audio = NDArray[np.float32]
Rng = np.random.Generator


def n_samples(duration_s: float) -> int:
    return max(1, round(duration_s * SAMPLE_RATE))


def seconds(n: int) -> NDArray[np.float64]:
    """Sample times of `n` samples, s."""
    return np.arange(n) / SAMPLE_RATE


def log_uniform(rng: Rng, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def normalise(audio: ArrayLike, peak: float = 0.5) -> Audio:
    """Scale to a peak; silence stays silence."""
    samples = np.asarray(audio, dtype=np.float32)
    top = float(np.abs(samples).max(initial=0.0))
    return samples if top == 0.0 else samples * np.float32(peak / top)


def rms(audio: ArrayLike) -> float:
    samples = np.asarray(audio, dtype=np.float64)
    return float(np.sqrt(np.mean(samples**2))) if samples.size else 0.0


def white(rng: Rng, n: int) -> NDArray[np.float64]:
    return rng.standard_normal(n)


def coloured(rng: Rng, n: int, slope_db_per_octave: float) -> NDArray[np.float64]:
    """Noise whose power falls (or rises) by a slope above 30 Hz: 0 white, -3 pink, -6 brown; unit RMS."""
    size = fft.next_fast_len(n, real=True)
    spectrum = fft.rfft(rng.standard_normal(size))
    frequency_hz = np.maximum(fft.rfftfreq(size, 1 / SAMPLE_RATE), 30.0)
    spectrum *= (frequency_hz / 1000.0) ** (slope_db_per_octave / 6.0206)
    noise = fft.irfft(spectrum, size)[:n]
    return np.asarray(noise / max(rms(noise), 1e-12))


@lru_cache(maxsize=2048)
def _one_sided(step: int, kind: str, order: int) -> NDArray[np.float64]:
    """Butterworth sections, edge `step` 1/24 octaves above 20 Hz; kept, for their design costs more than their use."""
    return np.asarray(signal.butter(order, 20.0 * 2 ** (step / 24), kind, fs=SAMPLE_RATE, output="sos"))


def bandpass(audio: ArrayLike, low_hz: float, high_hz: float, order: int = 2) -> NDArray[np.float64]:
    """Butterworth high-pass and low-pass in a row, edges rounded to 1/24 octave.

    A low edge under 20 Hz leaves the high-pass out, a high edge near Nyquist the low-pass.
    """
    out = np.asarray(audio, dtype=np.float64)
    if low_hz >= 20:
        out = signal.sosfilt(_one_sided(round(24 * np.log2(low_hz / 20)), "highpass", order), out)
    if high_hz < NYQUIST_HZ * 0.95:
        out = signal.sosfilt(_one_sided(round(24 * np.log2(max(high_hz, 20) / 20)), "lowpass", order), out)
    return np.asarray(out)


def resonator(audio: ArrayLike, frequency_hz: float, bandwidth_hz: float) -> NDArray[np.float64]:
    """Two-pole resonance with unit gain at its peak (Klatt, 1980): one formant."""
    radius = np.exp(-np.pi * bandwidth_hz / SAMPLE_RATE)
    angle = 2 * np.pi * min(frequency_hz, NYQUIST_HZ * 0.98) / SAMPLE_RATE
    a = np.array([1.0, -2 * radius * np.cos(angle), radius**2])
    gain = abs(np.polyval(a[::-1], np.exp(-1j * angle)))
    return np.asarray(signal.lfilter([gain], a, audio))


def decay(n: int, t60_s: float) -> NDArray[np.float64]:
    """Exponential envelope that falls by 60 dB in `t60_s`."""
    return np.exp(-np.log(1000.0) * seconds(n) / max(t60_s, 1e-3))


def ramps(n: int, attack_s: float, release_s: float) -> NDArray[np.float64]:
    """Envelope of ones with raised-cosine ends."""
    envelope = np.ones(n)
    attack, release = min(n_samples(attack_s), n // 2), min(n_samples(release_s), n // 2)
    envelope[:attack] = 0.5 - 0.5 * np.cos(np.pi * np.arange(attack) / max(attack, 1))
    if release:
        envelope[n - release :] *= 0.5 + 0.5 * np.cos(np.pi * np.arange(release) / release)
    return envelope


def wander(rng: Rng, n: int, rate_hz: float) -> NDArray[np.float64]:
    """Slow random curve of about unit deviation: how voices, engines and weather drift."""
    knots = max(4, int(n / SAMPLE_RATE * rate_hz) + 4)
    position = np.linspace(0, knots - 1, n)
    return np.asarray(np.interp(position, np.arange(knots), rng.standard_normal(knots)))


def curve(n: int, times: Sequence[float], values: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Piecewise linear curve through `values` at relative `times` in 0..1."""
    return np.asarray(np.interp(np.linspace(0, 1, n), times, values))


def phase_of(frequency_hz: ArrayLike) -> NDArray[np.float64]:
    """Phase in radians of an oscillator that follows `frequency_hz`, shape = (n,)."""
    return 2 * np.pi * np.cumsum(np.asarray(frequency_hz, dtype=np.float64)) / SAMPLE_RATE


def harmonics(frequency_hz: NDArray[np.float64], amplitudes: ArrayLike) -> NDArray[np.float64]:
    """Sum of harmonics of a gliding fundamental; those above Nyquist are left out, sample by sample."""
    phase = phase_of(frequency_hz)
    now, before, double_cosine = np.sin(phase), np.zeros(len(phase)), 2 * np.cos(phase)
    lowest_hz, highest_hz = float(frequency_hz.min()), float(frequency_hz.max())
    out = np.zeros(len(phase))
    for number, amplitude in enumerate(np.asarray(amplitudes, dtype=np.float64), start=1):
        if lowest_hz * number >= NYQUIST_HZ * 0.97:
            break
        tone = amplitude * now
        out += tone if highest_hz * number < NYQUIST_HZ * 0.97 else tone * (frequency_hz * number < NYQUIST_HZ * 0.97)
        now, before = double_cosine * now - before, now  # sin((k + 1) x) = 2 cos(x) sin(k x) - sin((k - 1) x)
    return out


def add_at(target: NDArray[np.float64], sound: ArrayLike, start_s: float, gain: float = 1.0) -> None:
    """Add a sound into `target` in place; what would stick out at the end is cut."""
    samples = np.asarray(sound)
    first = max(0, round(start_s * SAMPLE_RATE))
    count = min(len(samples), len(target) - first)
    if count > 0:
        target[first : first + count] += gain * samples[:count]


def modes(n: int, frequencies_hz: ArrayLike, t60_s: ArrayLike, amplitudes: ArrayLike, rng: Rng) -> NDArray[np.float64]:
    """Struck body: a sum of decaying sinusoids (modal synthesis), each the impulse response of a two-pole filter."""
    frequency = np.asarray(frequencies_hz, dtype=np.float64)
    phases = rng.uniform(0, 2 * np.pi, size=frequency.shape)
    radii = np.exp(-np.log(1000.0) / np.maximum(np.asarray(t60_s, dtype=np.float64), 1e-3) / SAMPLE_RATE)
    impulse, out = np.zeros(n), np.zeros(n)
    impulse[0] = 1.0
    for angle, radius, phase, amplitude in zip(
        2 * np.pi * frequency / SAMPLE_RATE, radii, phases, np.asarray(amplitudes, dtype=np.float64), strict=True
    ):
        if angle < np.pi:
            start, following = np.sin(phase), radius * np.sin(angle + phase)
            turn = 2 * radius * np.cos(angle)
            out += amplitude * signal.lfilter([start, following - turn * start], [1.0, -turn, radius**2], impulse)
    return out
