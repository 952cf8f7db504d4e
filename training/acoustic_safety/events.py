"""The sound events the classifier must find, synthesised from what makes them sound as they do.

Sources: muzzle blast, shock wave and ground reflection after Maher, "Acoustical characterization of gunshots"
(IEEE SAFE, 2007); the blast wave's form after Friedlander (1946), whose spectrum peaks at 1 / (2 pi positive phase):
hundreds of hertz for a muzzle blast of about a millisecond, tens for a charge of kilograms; roughness of screams, 30 to
150 Hz, after Arnal et al. (Current Biology, 2015); breaking glass as many damped modes after Cook, "Physically informed
sonic modeling" (Computer Music Journal, 1997). Each function returns one example, peak 0.5, that starts with the
event's onset.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.acoustic_safety.dsp import (
    Audio,
    Rng,
    add_at,
    bandpass,
    coloured,
    curve,
    decay,
    harmonics,
    log_uniform,
    modes,
    n_samples,
    normalise,
    phase_of,
    ramps,
    resonator,
    seconds,
    wander,
    white,
)


def blast_wave(duration_s: float, n: int) -> NDArray[np.float64]:
    """Friedlander pressure wave whose positive phase lasts `duration_s`."""
    t = seconds(n) / duration_s
    return (1 - t) * np.exp(-t)


def saturate(rng: Rng, audio: NDArray[np.float64], most: float) -> NDArray[np.float64]:
    """What an overloaded microphone or recorder does to a loud bang."""
    drive = log_uniform(rng, 0.3, most)
    return np.tanh(drive * np.asarray(normalise(audio, 1.0), dtype=np.float64))


def shot(rng: Rng, blast_s: tuple[float, float] = (3e-4, 3e-3)) -> NDArray[np.float64]:
    """One shot as heard outdoors or in a room, up to 2 s with its tail; `blast_s` ranges the positive phase."""
    n = n_samples(rng.uniform(0.6, 2.0))
    out = np.zeros(n)
    muzzle_s = 0.0
    if rng.random() < 0.4:  # supersonic: the bullet's shock wave, an N, comes before the muzzle blast
        crack = n_samples(log_uniform(rng, 1.5e-4, 5e-4)) + 2
        add_at(out, np.linspace(1, -1, crack), 0.0, rng.uniform(0.4, 1.2))
        muzzle_s = log_uniform(rng, 2e-3, 0.08)
    blast = blast_wave(log_uniform(rng, *blast_s), n_samples(0.04)) * rng.uniform(0.6, 1.2)
    body_t60 = log_uniform(rng, 0.03, 0.25)
    body = coloured(rng, n_samples(body_t60 * 1.2), rng.uniform(-4, 0)) * rng.uniform(0.25, 0.6)
    body *= decay(len(body), body_t60)
    muzzle = np.zeros(max(len(blast), len(body)))
    muzzle[: len(blast)] += blast
    muzzle[: len(body)] += body
    add_at(out, muzzle, muzzle_s)
    add_at(out, muzzle, muzzle_s + log_uniform(rng, 1.5e-3, 0.02), rng.uniform(-0.2, 0.7))  # off the ground
    if rng.random() < 0.5:
        thump = np.sin(phase_of(curve(n_samples(0.1), [0, 1], [rng.uniform(120, 260), 70]))) * decay(
            n_samples(0.1), 0.1
        )
        add_at(out, thump, muzzle_s, rng.uniform(0.1, 0.4))
    tail = coloured(rng, n, rng.uniform(-6, -1)) * decay(n, log_uniform(rng, 0.3, 1.8))
    tail *= 1 - np.exp(-seconds(n) / log_uniform(rng, 0.003, 0.05))
    out += log_uniform(rng, 0.02, 0.22) * tail
    for _ in range(rng.integers(0, 6)):  # far walls, trees, hills: late, dull echoes
        echo = bandpass(muzzle, 20, rng.uniform(900, 3500))
        add_at(out, echo, rng.uniform(0.05, 0.7), rng.uniform(0.04, 0.3))
    if rng.random() < 0.3:  # distance dulls the crack
        out = bandpass(out, 20, log_uniform(rng, 2200, 6000), order=1)
    return out * ramps(n, 0.0, 0.05)


def gunshot(rng: Rng) -> Audio:
    """A shot, a few aimed shots, or a burst of automatic fire, 0.7 to 4 s."""
    kind = rng.choice(["single", "aimed", "burst"], p=[0.5, 0.25, 0.25])
    if kind == "single":
        return normalise(saturate(rng, shot(rng), 12.0))
    count = int(rng.integers(2, 5)) if kind == "aimed" else int(rng.integers(3, 12))
    gap_s = rng.uniform(0.3, 0.8) if kind == "aimed" else rng.uniform(0.06, 0.14)
    one = shot(rng)
    out = np.zeros(len(one) + n_samples(count * gap_s * 1.3))
    at_s = 0.0
    for _ in range(count):
        add_at(out, one, at_s, rng.uniform(0.75, 1.0))
        at_s += gap_s * rng.uniform(0.95, 1.05) if kind == "burst" else gap_s * rng.uniform(0.7, 1.3)
    return normalise(saturate(rng, out, 12.0))


def explosion(rng: Rng, duration_s: tuple[float, float] = (2.0, 6.0)) -> Audio:
    """A blast with a long low rumble, often with debris, 2 to 6 s unless told."""
    n = n_samples(rng.uniform(*duration_s))
    t = seconds(n)
    attack_s = log_uniform(rng, 0.002, 0.04)
    bright, dark = coloured(rng, n, rng.uniform(-8, -4)), bandpass(coloured(rng, n, -7), 20, rng.uniform(150, 450))
    brightness = np.exp(-t / log_uniform(rng, 0.15, 0.8))  # the high frequencies die first
    rumble = bright * brightness * rng.uniform(0.3, 0.8) + dark * (0.35 + 0.65 * brightness) * rng.uniform(1.0, 1.8)
    rumble *= (1 - np.exp(-t / attack_s)) * decay(n, rng.uniform(2.2, 7.0))
    rumble *= np.clip(1 + rng.uniform(0.1, 0.5) * wander(rng, n, rng.uniform(4, 14)), 0.1, None)  # billowing
    out = rumble.copy()
    if rng.random() < 0.8:
        add_at(out, blast_wave(log_uniform(rng, 0.008, 0.06), n_samples(0.5)), 0.0, rng.uniform(1.0, 4.0))
    if rng.random() < 0.5:  # the crackling front of a near blast: broadband, over in a tenth of a second
        front_n = n_samples(0.15)
        front = coloured(rng, front_n, rng.uniform(-5, -1)) * decay(front_n, log_uniform(rng, 0.04, 0.15))
        add_at(out, front, 0.0, rng.uniform(0.3, 1.5))
    if rng.random() < 0.6:
        sweep = np.sin(phase_of(curve(n_samples(1.0), [0, 0.3, 1], [rng.uniform(70, 140), 45, 28])))
        add_at(out, sweep * decay(len(sweep), rng.uniform(0.6, 1.4)), 0.0, rng.uniform(0.5, 2.0))
    for _ in range(rng.integers(0, 3)):  # secondary blasts and echoes
        add_at(out, rumble[: n // 2], rng.uniform(0.1, 1.0), rng.uniform(0.1, 0.5))
    if rng.random() < 0.6:  # debris that rains down
        for at_s in rng.exponential(n / 16000 / 3, size=rng.integers(10, 80)) + 0.2:
            bit = bandpass(
                white(rng, n_samples(log_uniform(rng, 0.003, 0.04))), rng.uniform(200, 1500), rng.uniform(2000, 7000)
            )
            add_at(out, bit * decay(len(bit), 0.05), float(at_s), log_uniform(rng, 0.01, 0.15))
    if rng.random() < 0.25:
        out = bandpass(out, 20, log_uniform(rng, 400, 2000), order=1)
    return normalise(saturate(rng, out, 6.0) * ramps(n, 0.0, 0.3))


def cry(
    rng: Rng, top_hz: tuple[float, float] = (700, 2100), duration_s: tuple[float, float] = (0.45, 2.6)
) -> NDArray[np.float64]:
    """One rough, harmonic, gliding cry; `top_hz` ranges its highest pitch."""
    n = n_samples(rng.uniform(*duration_s))
    peak_hz = log_uniform(rng, *top_hz)
    start, middle, end = rng.uniform(0.55, 1.0), rng.uniform(0.9, 1.1), rng.uniform(0.5, 1.0)
    shape = curve(n, [0, rng.uniform(0.05, 0.25), rng.uniform(0.4, 0.85), 1], [start, 1.0, middle, end])
    f0 = peak_hz * shape * (1 + 0.012 * wander(rng, n, 60) + 0.03 * wander(rng, n, 6))
    vibrato = rng.uniform(0, 0.03) * np.sin(2 * np.pi * rng.uniform(4, 9) * seconds(n))
    f0 = np.clip(f0 * (1 + vibrato), 400, 3000)
    count = int(8000 / 400)
    tilt_db = rng.uniform(-9, -2)  # a scream is driven hard: its harmonics fall slowly
    amplitudes = 10 ** (tilt_db * np.log2(np.arange(1, count + 1)) / 20)
    voice = harmonics(f0, amplitudes)
    if rng.random() < 0.6:  # subharmonics and chaos of overdriven folds
        voice += rng.uniform(0.1, 0.6) * harmonics(f0 / 2, amplitudes) * np.clip(wander(rng, n, 5), 0, 1.5)
    rough_hz = rng.uniform(30, 150) * (1 + 0.15 * wander(rng, n, 8))
    depth = rng.uniform(0.2, 0.9)
    voice *= 1 - depth * (0.5 + 0.5 * np.sin(phase_of(rough_hz)))
    voice += (
        rng.uniform(0.05, 0.5) * bandpass(white(rng, n), 800, 7000) * np.clip(1 + 0.5 * wander(rng, n, 20), 0, None)
    )
    formants = zip(
        (rng.uniform(750, 1250), rng.uniform(1300, 2100), rng.uniform(2600, 3600), rng.uniform(3800, 4800)),
        (rng.uniform(120, 300), rng.uniform(150, 350), 300, 450),
        (1.0, rng.uniform(0.5, 1.0), rng.uniform(0.3, 0.9), rng.uniform(0.1, 0.5)),
        strict=True,
    )
    shaped = 0.15 * voice
    for frequency_hz, width_hz, gain in formants:
        shaped = shaped + gain * resonator(voice, frequency_hz, width_hz)
    loudness = curve(n, [0, 0.08, 0.7, 1], [0.3, 1, rng.uniform(0.7, 1), 0.2]) * np.clip(
        1 + 0.15 * wander(rng, n, 8), 0.3, None
    )
    return shaped * loudness * ramps(n, rng.uniform(0.01, 0.08), rng.uniform(0.03, 0.2))


def scream(rng: Rng) -> Audio:
    """A rough, high cry, or a few in a row, 0.4 to 5 s."""
    return cries(rng, [cry(rng) for _ in range(int(rng.choice([1, 2, 3], p=[0.65, 0.25, 0.1])))])


def cries(rng: Rng, one_by_one: list[NDArray[np.float64]]) -> Audio:
    """Cries in a row with breaths between them."""
    gaps = [n_samples(rng.uniform(0.05, 0.25)) for _ in one_by_one]
    parts = [part for one, gap in zip(one_by_one, gaps, strict=True) for part in (one, np.zeros(gap))]
    return normalise(np.tanh(log_uniform(rng, 0.5, 4) * normalise(np.concatenate(parts[:-1]), 1.0)))


def siren(rng: Rng) -> Audio:
    """An emergency vehicle's wail, yelp, hi-lo or phaser, or a mechanical warning siren, 2.5 to 8 s."""
    n = n_samples(rng.uniform(2.5, 8.0))
    t = seconds(n)
    kind = rng.choice(["wail", "yelp", "hi-lo", "phaser", "mechanical"], p=[0.3, 0.2, 0.25, 0.1, 0.15])
    low, high = rng.uniform(450, 750), rng.uniform(1000, 1700)
    offset = rng.random()
    if kind == "hi-lo":
        first = rng.uniform(400, 750)
        ratio = rng.uniform(1.2, 1.5)
        period_s = rng.uniform(0.8, 1.5)
        f = np.where((t / period_s + offset) % 1 < 0.5, first, first * ratio)
    elif kind == "mechanical":
        f = low * 0.6 + (high * 0.5 - low * 0.3) * (0.5 - 0.5 * np.cos(2 * np.pi * (t / rng.uniform(6, 12) + offset)))
    else:
        period_s = {"wail": rng.uniform(2.5, 7), "yelp": rng.uniform(0.2, 0.45), "phaser": rng.uniform(0.05, 0.12)}[
            kind
        ]
        cycle = (t / period_s + offset) % 1
        rise = rng.uniform(0.3, 0.7)
        sweep = np.where(cycle < rise, cycle / rise, (1 - cycle) / (1 - rise))
        f = low * (high / low) ** (sweep if rng.random() < 0.5 else 0.5 - 0.5 * np.cos(np.pi * sweep))
    return horn(rng, f)


def horn(rng: Rng, frequency_hz: NDArray[np.float64]) -> Audio:
    """A siren's loudspeaker or horn that plays a pitch, on a vehicle that stands or drives past."""
    n = len(frequency_hz)
    t, f = seconds(n), frequency_hz
    passing = rng.random() < 0.5
    speed, distance, closest_s = rng.uniform(8, 30), rng.uniform(5, 40), rng.uniform(0, n / 16000)
    along = speed * (t - closest_s)
    if passing:  # Doppler: the speed towards the listener over that of sound
        f = f / (1 + speed * along / np.hypot(along, distance) / 343.0)
    amplitudes = 1 / np.arange(1, 13) ** rng.uniform(0.6, 1.8)
    if rng.random() < 0.5:
        amplitudes[1::2] *= rng.uniform(0, 0.5)  # square-like drivers
    out = harmonics(np.asarray(f), amplitudes)
    horn_hz = rng.uniform(900, 2600)
    out = 0.4 * out + resonator(out, horn_hz, horn_hz * rng.uniform(0.4, 1.0))
    if passing:
        out *= distance / np.hypot(along, distance) + 0.1
    if rng.random() < 0.3:
        out *= 1 + 0.2 * wander(rng, n, 5)  # wind and reflections
    return normalise(np.tanh(log_uniform(rng, 0.3, 3) * normalise(out, 1.0)) * ramps(n, 0.05, 0.15))


def shard(rng: Rng) -> NDArray[np.float64]:
    """One piece of glass hit once: a click and a handful of inharmonic modes."""
    n = n_samples(rng.uniform(0.05, 0.45))
    count = int(rng.integers(4, 12))
    base_hz = log_uniform(rng, 1400, 4200)
    frequency = base_hz * np.cumsum(np.concatenate([[1.0], rng.uniform(0.12, 0.7, count - 1)]))
    t60 = log_uniform(rng, 0.04, 0.45) * rng.uniform(0.4, 1.2, count)
    ring = modes(n, frequency, t60, rng.uniform(0.2, 1.0, count), rng)
    click = bandpass(white(rng, n), rng.uniform(1500, 3500), 8000) * decay(n, rng.uniform(0.004, 0.03))
    return ring / np.sqrt(count) + rng.uniform(0.3, 1.2) * click


def glass_breaking(rng: Rng) -> Audio:
    """A pane or a bottle that breaks: impact, fracture, shards that fall and tinkle, 0.6 to 2.5 s."""
    n = n_samples(rng.uniform(0.6, 2.5))
    out = np.zeros(n)
    burst_n = n_samples(rng.uniform(0.04, 0.25))
    fracture = bandpass(white(rng, burst_n), rng.uniform(900, 2500), 8000) * decay(burst_n, rng.uniform(0.05, 0.3))
    add_at(out, fracture, 0.0, rng.uniform(0.5, 1.5))
    if rng.random() < 0.6:  # the blow of whatever broke it
        thud_n = n_samples(0.12)
        thud = bandpass(white(rng, thud_n), 60, rng.uniform(300, 900)) * decay(thud_n, rng.uniform(0.04, 0.12))
        add_at(out, thud, 0.0, rng.uniform(0.5, 2.0))
    spread_s = n / 16000 * rng.uniform(0.12, 0.35)
    for at_s in rng.exponential(spread_s, size=int(rng.integers(14, 70))):
        add_at(out, shard(rng), float(at_s), log_uniform(rng, 0.15, 1.0) * np.exp(-at_s / (3 * spread_s)))
    for at_s in rng.exponential(0.02, size=int(rng.integers(3, 10))):
        add_at(out, shard(rng), float(at_s), rng.uniform(0.5, 1.2))
    return normalise(np.tanh(log_uniform(rng, 0.3, 3) * normalise(out, 1.0)) * ramps(n, 0.0, 0.05))
