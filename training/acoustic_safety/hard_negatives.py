"""Sounds of everyday life that resemble a safety event and are none: the network must stay quiet on them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import signal

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


def _scatter(rng: Rng, sound: NDArray[np.float64] | Audio, times_s: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    out = np.zeros(n)
    for at_s in times_s:
        add_at(out, sound, float(at_s), rng.uniform(0.5, 1.0))
    return out


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


def hand_clap(rng: Rng) -> Audio:
    """Claps: band-limited bursts without weight below 300 Hz, a few or an audience's."""
    one_n = n_samples(0.08)

    def clap() -> NDArray[np.float64]:
        centre_hz = rng.uniform(700, 2600)
        burst = bandpass(white(rng, one_n), centre_hz * 0.5, centre_hz * 2.2) * decay(one_n, rng.uniform(0.02, 0.07))
        return np.asarray(normalise(burst), dtype=np.float64)

    if rng.random() < 0.6:
        count, gap_s = int(rng.integers(1, 8)), rng.uniform(0.18, 0.6)
        n = n_samples(count * gap_s + 0.3)
        out = np.zeros(n)
        for index in range(count):
            add_at(out, clap(), index * gap_s * rng.uniform(0.97, 1.03), rng.uniform(0.6, 1.0))
        return normalise(out)
    n = n_samples(rng.uniform(1.5, 4.0))
    out = np.zeros(n)
    for at_s in rng.uniform(0, n / 16000, int(rng.integers(60, 240))):
        add_at(out, clap(), float(at_s), log_uniform(rng, 0.1, 1.0))
    return normalise(out * ramps(n, 0.2, 0.5))


def fireworks_crackle(rng: Rng) -> Audio:
    """Sparkling crackle of small charges, with no report of a shell."""
    n = n_samples(rng.uniform(1.0, 3.0))
    out = np.zeros(n)
    for at_s in rng.beta(1.5, 2.5, int(rng.integers(40, 160))) * n / 16000:
        tick_n = n_samples(log_uniform(rng, 0.003, 0.012))
        tick = bandpass(white(rng, tick_n), 1500, 7500) * decay(tick_n, 0.01)
        add_at(out, tick, float(at_s), log_uniform(rng, 0.1, 1.0))
    return normalise(out)


def typing(rng: Rng) -> Audio:
    n = n_samples(rng.uniform(1.0, 4.0))
    key_n = n_samples(0.03)
    times_s = np.cumsum(rng.exponential(rng.uniform(0.08, 0.2), size=80))
    out = np.zeros(n)
    for at_s in times_s[times_s < n / 16000]:
        key = bandpass(white(rng, key_n), rng.uniform(800, 2500), 6500) * decay(key_n, 0.02)
        key += 0.5 * modes(key_n, rng.uniform(150, 900, 3), [0.03, 0.02, 0.02], [1, 0.6, 0.4], rng)
        add_at(out, key, float(at_s), rng.uniform(0.3, 1.0))
    return normalise(out)


def knocking(rng: Rng) -> Audio:
    """Knuckles on wood or a bump against the table or microphone."""
    n = n_samples(0.25)
    hit = modes(n, rng.uniform(80, 900, 5), rng.uniform(0.04, 0.15, 5), rng.uniform(0.3, 1, 5), rng)
    hit += bandpass(white(rng, n), 100, 2500) * decay(n, 0.02)
    count = int(rng.integers(1, 6))
    return normalise(_scatter(rng, hit, np.arange(count) * rng.uniform(0.13, 0.4), n_samples(count * 0.4 + 0.3)))


def microphone_thump(rng: Rng) -> Audio:
    """A handled or blown-on microphone: subsonic thuds and wind."""
    n = n_samples(rng.uniform(0.3, 1.5))
    out = bandpass(coloured(rng, n, -6), 20, rng.uniform(80, 250)) * np.clip(
        wander(rng, n, rng.uniform(6, 15)), 0, None
    )
    return normalise(np.tanh(3 * normalise(out * ramps(n, 0.01, 0.1), 1.0)))


def dog_bark(rng: Rng) -> Audio:
    bark_n = n_samples(rng.uniform(0.12, 0.3))
    base_hz = log_uniform(rng, 220, 750)
    f0 = base_hz * curve(bark_n, [0, 0.3, 1], [0.8, 1.2, 0.7]) * (1 + 0.03 * wander(rng, bark_n, 60))
    source = harmonics(np.asarray(f0), 1 / np.arange(1, 20) ** 0.8) + rng.uniform(0.2, 0.8) * white(rng, bark_n)
    bark = resonator(source, rng.uniform(450, 900), 250) + 0.6 * resonator(source, rng.uniform(1100, 2000), 350)
    bark = np.tanh(2 * normalise(bark * ramps(bark_n, 0.01, 0.08), 1.0))
    times_s = np.cumsum(rng.uniform(0.28, 0.8, int(rng.integers(1, 7))))
    return normalise(_scatter(rng, bark, times_s - times_s[0], n_samples(float(times_s[-1]) + 0.3)))


def bird_song(rng: Rng) -> Audio:
    """Pure gliding chirps, gulls and crows among them."""
    n = n_samples(rng.uniform(1.5, 4.0))
    out = np.zeros(n)
    harsh = rng.random() < 0.35
    low_hz, high_hz = (700, 1800) if harsh else (1800, 6500)
    for at_s in np.cumsum(rng.exponential(0.3, 12)):
        chirp_n = n_samples(rng.uniform(0.25, 0.6) if harsh else rng.uniform(0.04, 0.25))
        f = curve(chirp_n, [0, 0.5, 1], rng.uniform(low_hz, high_hz, 3))
        tones = [1, 0.7, 0.5, 0.3, 0.2] if harsh else [1, 0.1]
        add_at(out, harmonics(np.asarray(f), tones) * ramps(chirp_n, 0.01, 0.03), float(at_s), rng.uniform(0.3, 1))
    return normalise(out)


def rain(rng: Rng) -> Audio:
    n = n_samples(rng.uniform(3.0, 6.0))
    out = bandpass(coloured(rng, n, rng.uniform(-3, 0)), rng.uniform(200, 900), 8000) * 0.2
    for at_s in rng.uniform(0, n / 16000, int(rng.integers(100, 600))):
        drop_n = n_samples(0.012)
        drop = np.sin(phase_of(curve(drop_n, [0, 1], [rng.uniform(1000, 4000), 6000]))) * decay(drop_n, 0.012)
        add_at(out, drop, float(at_s), log_uniform(rng, 0.05, 0.6))
    return normalise(out)


def wind(rng: Rng) -> Audio:
    n = n_samples(rng.uniform(3.0, 6.0))
    gusts = np.clip(1 + 0.8 * wander(rng, n, 1.0), 0.05, None)
    return normalise(bandpass(coloured(rng, n, -4), 60, rng.uniform(400, 1800)) * gusts)


def passing_rumble(rng: Rng) -> Audio:
    """A lorry or a train that passes: rumble that swells slowly and has no onset."""
    n = n_samples(rng.uniform(3.0, 6.0))
    swell = np.exp(-((np.linspace(-1, 1, n) / rng.uniform(0.3, 0.8)) ** 2))
    return normalise(bandpass(coloured(rng, n, -5), 25, rng.uniform(200, 1200)) * swell * (1 + 0.2 * wander(rng, n, 6)))


def engine(rng: Rng) -> Audio:
    """A combustion engine that idles or revs, or a motorcycle that pulls away."""
    n = n_samples(rng.uniform(2.5, 6.0))
    f0 = np.clip(rng.uniform(25, 110) * 2 ** (rng.uniform(0, 0.8) * wander(rng, n, 0.5)), 15, 350)
    out = harmonics(f0 * (1 + 0.01 * wander(rng, n, 30)), rng.uniform(0.2, 1, 30) / np.arange(1, 31) ** 0.7)
    out = np.tanh(2 * normalise(out, 1.0)) + 0.2 * coloured(rng, n, -4)
    return normalise(bandpass(out, 40, rng.uniform(800, 3500)))


def phone_ring(rng: Rng) -> Audio:
    """Bell, warble and melody ring tones."""
    n = n_samples(rng.uniform(2.0, 5.0))
    t = seconds(n)
    kind = int(rng.integers(3))
    if kind == 0:  # mechanical bell
        strike_hz = rng.uniform(15, 25)
        out = np.zeros(n)
        bell_n = n_samples(0.3)
        base_hz = rng.uniform(900, 1800)
        bell = modes(bell_n, base_hz * np.array([1, 2.4, 4.1]), [0.3, 0.2, 0.1], [1, 0.6, 0.3], rng)
        for at_s in np.arange(0, n / 16000, 1 / strike_hz):
            add_at(out, bell, float(at_s))
    elif kind == 1:  # electronic two-tone warble, much faster than a hi-lo siren
        first_hz, rate_hz = rng.uniform(700, 1500), rng.uniform(10, 25)
        out = np.sign(np.sin(phase_of(np.where((t * rate_hz) % 1 < 0.5, first_hz, first_hz * 1.26))))
    else:
        steps = np.repeat(rng.choice([0, 2, 4, 7, 9, 12], 40), n_samples(rng.uniform(0.1, 0.25)))
        steps = np.resize(steps, n)
        out = harmonics(rng.uniform(500, 1100) * 2 ** (steps / 12), [1, 0.3, 0.2])
    cadence = (t % rng.uniform(1.5, 3.0)) < rng.uniform(0.8, 1.4)
    return normalise(out * cadence)


def alarm_beep(rng: Rng) -> Audio:
    """Steady beeps of a microwave oven, lorry in reverse or alarm clock: one pitch, on and off."""
    n = n_samples(rng.uniform(1.5, 5.0))
    t = seconds(n)
    period_s = log_uniform(rng, 0.25, 2.0)
    gate = (t % period_s) < period_s * rng.uniform(0.3, 0.6)
    tone = harmonics(np.full(n, rng.uniform(700, 3200)), [1, rng.uniform(0, 0.5), rng.uniform(0, 0.4)])
    return normalise(tone * gate)


def whistle(rng: Rng) -> Audio:
    """A person's whistle, a kettle or a referee's pea whistle."""
    n = n_samples(rng.uniform(0.5, 3.0))
    f = rng.uniform(900, 3800) * 2 ** (rng.uniform(0.02, 0.3) * wander(rng, n, rng.uniform(1, 4)))
    out = harmonics(f, [1, 0.08]) + 0.05 * bandpass(white(rng, n), 1000, 7000)
    if rng.random() < 0.35:
        out *= 1 + 0.8 * np.sin(2 * np.pi * rng.uniform(18, 40) * seconds(n))
    return normalise(out * ramps(n, 0.03, 0.06))


def car_horn(rng: Rng) -> Audio:
    n = n_samples(rng.uniform(0.25, 1.5))
    base_hz = rng.uniform(320, 480)
    out = harmonics(np.full(n, base_hz), 1 / np.arange(1, 14) ** 0.6) + harmonics(
        np.full(n, base_hz * 1.26), 1 / np.arange(1, 12) ** 0.6
    )
    return normalise(np.tanh(1.5 * normalise(out, 1.0)) * ramps(n, 0.02, 0.05))


def dishes(rng: Rng) -> Audio:
    """Cutlery, plates and toasted glasses: struck bodies that ring and stay whole."""
    n = n_samples(rng.uniform(0.8, 3.0))
    out = np.zeros(n)
    at_s = 0.0
    while at_s < n / 16000 - 0.2:
        count = int(rng.integers(3, 7))
        base_hz = log_uniform(rng, 900, 3500)
        ring_n = n_samples(rng.uniform(0.2, 1.2))
        frequencies = base_hz * np.array([1, 2.3, 4.25, 6.6, 2.9, 5.1, 3.4])[:count]
        ring = modes(
            ring_n,
            frequencies,
            log_uniform(rng, 0.1, 1.2) * rng.uniform(0.5, 1, count),
            rng.uniform(0.2, 1, count),
            rng,
        )
        add_at(out, ring, at_s, log_uniform(rng, 0.3, 1.0))
        at_s += log_uniform(rng, 0.12, 1.2)
    return normalise(out)


def footsteps(rng: Rng) -> Audio:
    step_n = n_samples(0.15)
    step = bandpass(white(rng, step_n), 50, rng.uniform(400, 3000)) * decay(step_n, rng.uniform(0.05, 0.15))
    count = int(rng.integers(3, 9))
    return normalise(_scatter(rng, step, np.arange(count) * rng.uniform(0.35, 0.65), n_samples(count * 0.6 + 0.2)))


def paper_rustle(rng: Rng) -> Audio:
    n = n_samples(rng.uniform(0.5, 2.5))
    return normalise(
        bandpass(white(rng, n), 1500, 8000) * np.clip(wander(rng, n, 25), 0, None) ** 2 * ramps(n, 0.05, 0.1)
    )


def noise_sweep(rng: Rng) -> Audio:
    """The whoosh of a jingle or a film trailer."""
    n = n_samples(rng.uniform(0.4, 1.5))
    shape = curve(n, [0, rng.uniform(0.4, 0.9), 1], [0, 1, 0])
    low, high = bandpass(white(rng, n), 100, 800), bandpass(white(rng, n), 1000, 7000)
    return normalise((low * shape**2 + high * shape**3) * ramps(n, 0.05, 0.05))


def fireworks(rng: Rng) -> Audio:
    """Shells of a display: the whistle or hiss of a climb, a soft burst high in the air, a crackle. No lone bang."""
    out = np.zeros(n_samples(rng.uniform(2.0, 5.0)))
    end_s, at_s = len(out) / 16000, 0.0
    while at_s < end_s - 1.0:
        climb_n = n_samples(rng.uniform(0.6, 1.4))
        f = curve(climb_n, [0, 1], [rng.uniform(1200, 2500), rng.uniform(2500, 5500)])
        climb = harmonics(np.asarray(f), [1, 0.2]) if rng.random() < 0.7 else bandpass(white(rng, climb_n), 1500, 6000)
        add_at(out, climb * curve(climb_n, [0, 0.7, 1], [0.2, 1, 0.1]), at_s, log_uniform(rng, 0.1, 0.5))
        burst_s = at_s + climb_n / 16000
        burst_n = n_samples(rng.uniform(0.3, 0.8))
        attack = 1 - np.exp(
            -seconds(burst_n) / log_uniform(rng, 0.01, 0.04)
        )  # loose powder burns, it does not detonate
        burst = bandpass(coloured(rng, burst_n, -4), 60, rng.uniform(600, 1800)) * attack
        add_at(out, burst * decay(burst_n, rng.uniform(0.25, 0.7)), burst_s, rng.uniform(0.5, 1.2))
        add_at(out, fireworks_crackle(rng), burst_s + rng.uniform(0.05, 0.3), log_uniform(rng, 0.3, 1.2))
        at_s += rng.uniform(0.6, 1.8)
    return normalise(out * ramps(len(out), 0.0, 0.2))


def thunder(rng: Rng) -> Audio:
    """Far thunder: a roll of many peaks that swells over a good part of a second, with no front."""
    n = n_samples(rng.uniform(3.0, 6.0))
    swell = np.zeros(n)
    for at_s in rng.uniform(0.0, 0.6 * n / 16000, int(rng.integers(3, 8))):
        peak_n = n_samples(rng.uniform(1.0, 2.5))
        add_at(swell, curve(peak_n, [0, rng.uniform(0.2, 0.5), 1], [0, 1, 0]), float(at_s), rng.uniform(0.3, 1.0))
    roll = bandpass(coloured(rng, n, rng.uniform(-7, -4)), 20, rng.uniform(150, 900))
    return normalise(
        roll * swell * np.clip(1 + 0.4 * wander(rng, n, rng.uniform(3, 9)), 0.1, None) * ramps(n, 0.2, 0.4)
    )


def applause(rng: Rng) -> Audio:
    """A hall that claps, sometimes with whistles: dense claps without a beat."""
    n = n_samples(rng.uniform(2.5, 6.0))
    spikes = np.where(rng.random(n) < rng.uniform(60, 400) / 16000, rng.uniform(0.2, 1.0, n), 0.0)
    out = np.zeros(n)
    for _ in range(4):  # groups of hands that sound alike
        centre_hz = rng.uniform(700, 2600)
        clap_n = n_samples(0.06)
        one = bandpass(white(rng, clap_n), centre_hz * 0.5, centre_hz * 2.2) * decay(clap_n, rng.uniform(0.02, 0.07))
        out += signal.oaconvolve(spikes * (rng.random(n) < 0.4), normalise(one, 1.0))[:n]
    if rng.random() < 0.3:
        add_at(out, whistle(rng), rng.uniform(0, 1.5), rng.uniform(0.3, 1.0))
    return normalise(out * ramps(n, rng.uniform(0.05, 0.8), rng.uniform(0.3, 1.5)))


def squeal(rng: Rng) -> Audio:
    """Brakes, a hinge or a chair on the floor: friction that sings on one or two pitches and hardly glides."""
    n = n_samples(rng.uniform(0.3, 2.0))
    out = np.zeros(n)
    for _ in range(int(rng.integers(1, 3))):
        f = log_uniform(rng, 500, 3800) * (1 + 0.01 * wander(rng, n, 8))
        out += harmonics(np.asarray(f), [1, rng.uniform(0.1, 0.8), rng.uniform(0, 0.5)]) * rng.uniform(0.3, 1.0)
    rub = bandpass(white(rng, n), 400, 6000) * rng.uniform(0.05, 0.4)
    return normalise((out + rub) * np.clip(1 + 0.4 * wander(rng, n, 15), 0, None) * ramps(n, 0.04, 0.08))


def glissando(rng: Rng) -> Audio:
    """A slide whistle, trombone, riser or game sound: a pitch that slides once or twice and stops, never in cycles."""
    n = n_samples(rng.uniform(0.4, 3.0))
    pitch = log_uniform(rng, 150, 900) * 2 ** curve(n, [0, rng.uniform(0.3, 0.7), 1], rng.uniform(-0.2, 1.6, 3))
    amplitudes = rng.uniform(0.2, 1, 12) / np.arange(1, 13) ** rng.uniform(0.3, 2.0)
    return normalise(harmonics(np.asarray(pitch), amplitudes) * ramps(n, 0.02, 0.1))


def hammering(rng: Rng) -> Audio:
    """A hammer on a nail or plank, a stapler, a ball on a floor: short knocks with one hard body, evenly paced."""
    hit_n = n_samples(0.2)
    base_hz = log_uniform(rng, 180, 1500)
    hit = modes(hit_n, base_hz * rng.uniform(1, 5, 6), rng.uniform(0.03, 0.15, 6), rng.uniform(0.2, 1, 6), rng)
    hit += bandpass(white(rng, hit_n), 500, 6000) * decay(hit_n, 0.02) * rng.uniform(0.5, 2)
    count = int(rng.integers(1, 8))
    return normalise(_scatter(rng, hit, np.arange(count) * rng.uniform(0.2, 0.7), n_samples(count * 0.7 + 0.3)))


def keys_jingle(rng: Rng) -> Audio:
    """Keys, coins or a tambourine: small hard metal that rings high, with no fracture and no falling shards."""
    n = n_samples(rng.uniform(0.5, 2.5))
    out = np.zeros(n)
    base_hz = log_uniform(rng, 2500, 5500)
    for at_s in np.cumsum(rng.exponential(rng.uniform(0.03, 0.12), 60)):
        ring_n = n_samples(0.12)
        ring = modes(ring_n, base_hz * rng.uniform(0.8, 1.4, 3), rng.uniform(0.03, 0.2, 3), [1, 0.6, 0.4], rng)
        add_at(out, ring, float(at_s), rng.uniform(0.2, 1.0))
    return normalise(out * ramps(n, 0.02, 0.1))
