"""Pieces of audio to train on: recordings cut, filtered and mixed, with what sounds in each frame.

A scene draws all of its recordings from one fold, so that holding out a fold is leaving out its scenes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, fftconvolve, sosfilt

from aircheck.evaluation.mixtures import loudness
from aircheck.inference.acoustic_safety.events import SAFETY_EVENTS
from aircheck.inference.acoustic_safety.head import LEARNED
from aircheck.inference.acoustic_safety.pieces import FRAME_SAMPLES, PIECE_FRAMES, PIECE_SAMPLES
from training.acoustic_safety.clips import SAMPLE_RATE, Audio
from training.acoustic_safety.sounds import Sound

Rng = np.random.Generator

CELL_SAMPLES = 320  # 20 ms, in which levels are taken
CELLS = FRAME_SAMPLES // CELL_SAMPLES
ACTIVE_DB = -25.0  # of its loudest cell: quieter parts of an event are neither asked for nor held against it
AUDIBLE_DB = -14.0  # of the background in the same frame
LEAST_CELLS = 2
UNKNOWN = -1.0

# what is mixed, how often, and how much louder the first is than the second, dB
Kind = tuple[str, float, tuple[float, float]]
KINDS: tuple[Kind, ...] = (
    ("event", 0.25, (0, 0)),
    ("event+speech", 0.15, (-14, 14)),
    ("event+music", 0.05, (-4, 18)),
    ("event+other", 0.04, (-2, 20)),
    ("other", 0.25, (0, 0)),
    ("other+speech", 0.04, (-10, 12)),
    ("other+other", 0.02, (-10, 10)),
    ("music", 0.15, (0, 0)),
    ("speech+music", 0.03, (-6, 20)),
    ("speech", 0.02, (0, 0)),
)
SYNTHETIC_KINDS: tuple[Kind, ...] = (("event", 0.5, (0, 0)), ("event+speech", 0.5, (-12, 12)))
AS_IT_IS = 0.7  # of the sounds that stand alone: neither varied nor filtered
HARD = ("x_thunder", "x_ringtone", "x_car_horn", "x_baby_cry", "x_applause", "x_ui_alarm", "x_keyboard")
HARDER = 3.0  # how much more often these are drawn: the likest to events, and few
SYNTHETIC_SHARE = 0.06  # of events; of sirens SYNTHETIC_SIRENS
SYNTHETIC_SIRENS = 0.25
VOICE_LIKE = ("scream", "x_laughter", "x_shout", "x_voice", "x_baby_cry", "x_other")  # may hold speech, or not
SHORT = ("x_drum", "x_step", "x_blow", "x_tool", "x_door", "x_game")  # several in a row


@dataclass(frozen=True)
class Scene:
    """One piece.

    Attributes:
        audio: fp32 [PIECE_SAMPLES].
        target: fp32 [PIECE_FRAMES, len(LEARNED)]: 1, 0, or UNKNOWN, which trains nothing.
        fold: of its recordings.
        snr_db: of the event over what else sounds; NaN without one, or with nothing beside it.
        kind: of `KINDS`.
    """

    audio: Audio
    target: NDArray[np.float32]
    fold: int
    snr_db: float
    kind: str


@dataclass(frozen=True)
class Pool:
    """The recordings of one fold, by label, and synthesisers of events."""

    clips: Mapping[str, Sequence[Audio]]
    synthesisers: Mapping[str, Sound]

    def labels(self, kind: str) -> list[str]:
        if kind == "event":
            return [event for event in SAFETY_EVENTS if event in self.clips or event in self.synthesisers]
        if kind == "other":
            return [label for label in self.clips if label.startswith("x_")]
        names = {"speech": ("speech", "speech_meeting", "x_shout", "x_voice"), "music": ("music",)}[kind]
        return [label for label in names if label in self.clips]

    def draw(self, rng: Rng, kind: str) -> tuple[str, Audio]:
        labels = self.labels(kind)
        # a label with few recordings here is drawn less often, lest one of them be heard too often
        weights = np.array([max(min(len(self.clips.get(label, ())), 12) ** 0.5, 0.3) for label in labels])
        weights *= [HARDER if label in HARD else 1.0 for label in labels]
        label = labels[int(rng.choice(len(labels), p=weights / weights.sum()))]
        share = SYNTHETIC_SIRENS if label == "siren" else SYNTHETIC_SHARE
        if kind == "event" and label in self.synthesisers and (label not in self.clips or rng.random() < share):
            return label, self.synthesisers[label](rng)
        clips = self.clips[label]
        return label, clips[int(rng.integers(len(clips)))]


def make_scene(rng: Rng, pool: Pool, fold: int, kinds: Sequence[Kind] = KINDS) -> Scene:
    """One scene of a random kind."""
    names, odds, ranges = zip(*kinds, strict=True)
    index = int(rng.choice(len(names), p=np.array(odds) / sum(odds)))
    kind, (low, high) = names[index], ranges[index]
    first, _, second = kind.partition("+")
    label, audio = pool.draw(rng, first)
    as_it_is = not second and rng.random() < AS_IT_IS
    front = laid_out(rng, label, audio, as_it_is)
    back, back_label = np.zeros(PIECE_SAMPLES, np.float32), None
    snr_db = float("nan")
    if second:
        back_label, audio = pool.draw(rng, second)
        back = laid_out(rng, back_label, audio)
        snr_db = rng.uniform(low, high)
        back = back * (loudness(front) / max(loudness(back), 1e-6) * 10 ** (-snr_db / 20))
    target = targets(label, front, back, back_label)
    audio = at_level(rng, front + back) if as_it_is else recorded(rng, front + back)
    return Scene(audio, target, fold, snr_db if first == "event" else float("nan"), kind)


def laid_out(rng: Rng, label: str, audio: Audio, as_it_is: bool = False) -> Audio:
    """A recording as one piece: varied, cut or repeated, and placed; fp32 [PIECE_SAMPLES]"""
    if not as_it_is:
        audio = varied(rng, audio)
    if label in SHORT and rng.random() < 0.7:
        return _sequence(rng, audio)
    if len(audio) > PIECE_SAMPLES:  # begins in the middle
        start = int(rng.integers(len(audio) - PIECE_SAMPLES // 2))
        audio = audio[start : start + PIECE_SAMPLES]
    if label in ("speech", "music", "x_shout", "x_voice", "siren", "x_ringtone") and rng.random() < 0.7:
        gap = np.zeros(int(rng.uniform(0, 0.3 if label == "speech" else 0.05) * SAMPLE_RATE), np.float32)
        while 0 < len(audio) < PIECE_SAMPLES:
            audio = np.concatenate([audio, gap, audio])[:PIECE_SAMPLES]
    out = np.zeros(PIECE_SAMPLES, np.float32)
    room = PIECE_SAMPLES - len(audio)
    at = int(rng.integers(room + 1)) if room else 0
    if label in SAFETY_EVENTS and rng.random() < 0.15:  # cut by the piece's edge
        at = int(rng.integers(-len(audio) // 2, PIECE_SAMPLES - len(audio) // 2))
    begin, end = max(0, at), min(PIECE_SAMPLES, at + len(audio))
    out[begin:end] = audio[begin - at : end - at]
    return out


def _sequence(rng: Rng, audio: Audio) -> Audio:
    out = np.zeros(PIECE_SAMPLES, np.float32)
    audio = audio[: int(rng.uniform(0.2, 2.0) * SAMPLE_RATE)]
    step = int(rng.uniform(0.12, 1.2) * SAMPLE_RATE)
    count = int(rng.integers(1, 9))
    for n in range(count):
        at = n * step + int(rng.normal(0, 0.02) * SAMPLE_RATE) if n else int(rng.integers(step))
        if 0 <= at < PIECE_SAMPLES:
            piece = audio[: PIECE_SAMPLES - at]
            out[at : at + len(piece)] += piece * rng.uniform(0.4, 1.0)
    return out


def varied(rng: Rng, audio: Audio) -> Audio:
    """Another speed (and pitch), band and room."""
    if rng.random() < 0.4:
        speed = rng.uniform(0.9, 1.1)
        audio = np.interp(np.arange(0, len(audio) - 1, speed), np.arange(len(audio)), audio).astype(np.float32)
    if rng.random() < 0.15:  # distance and walls take the treble; too much makes thunder of a shot
        audio = sosfilt(butter(2, rng.uniform(3000, 7000), fs=SAMPLE_RATE, output="sos"), audio).astype(np.float32)
    if rng.random() < 0.15:
        length = int(rng.uniform(0.1, 0.5) * SAMPLE_RATE)
        tail = rng.normal(0, 1, length) * np.exp(-6.9 * np.arange(length) / length)
        tail[0] = rng.uniform(2, 12)
        wet = fftconvolve(audio, tail)[: len(audio) + length]
        audio = (wet / max(np.abs(wet).max(), 1e-9) * max(np.abs(audio).max(initial=0), 1e-4)).astype(np.float32)
    return audio


def recorded(rng: Rng, audio: Audio) -> Audio:
    """The mixture at a level, through a channel, over a noise floor."""
    if rng.random() < 0.15:  # a telephone
        band = butter(3, (rng.uniform(80, 300), rng.uniform(3400, 7000)), "bandpass", fs=SAMPLE_RATE, output="sos")
        audio = sosfilt(band, audio)
    audio = at_level(rng, audio)
    if rng.random() < 0.1:
        audio = np.clip(audio * rng.uniform(1.5, 4), -1, 1)
    floor = 10 ** (rng.uniform(-90, -50) / 20) if rng.random() < 0.8 else 0.0
    return (audio + rng.normal(0, 1, PIECE_SAMPLES) * floor).astype(np.float32)


def at_level(rng: Rng, audio: Audio) -> Audio:
    """The audio at a peak of -36 to 0 dBFS."""
    peak_db = rng.uniform(-12, 0) if rng.random() < 0.6 else rng.uniform(-36, -12)
    return (audio * (10 ** (peak_db / 20) / max(float(np.abs(audio).max()), 1e-5))).astype(np.float32)


def cells(audio: Audio) -> NDArray[np.float64]:
    """Power of each 20 ms, [cells]"""
    power: NDArray[np.float64] = np.square(audio.astype(np.float64)).reshape(-1, CELL_SAMPLES).mean(1)
    return power


def targets(label: str, front: Audio, back: Audio, back_label: str | None) -> NDArray[np.float32]:
    """What sounds in each frame, [PIECE_FRAMES, len(LEARNED)]"""
    target = np.zeros((PIECE_FRAMES, len(LEARNED)), np.float32)
    for name, mine, other in ((label, front, back), (back_label, back, front)):
        if name is None:
            continue
        power = cells(mine).reshape(PIECE_FRAMES, CELLS)
        loud = power > power.max() * 10 ** (ACTIVE_DB / 10)
        over = power.max(1) > cells(other).reshape(PIECE_FRAMES, CELLS).mean(1) * 10 ** (AUDIBLE_DB / 10)
        some, clear = loud.any(1), (loud.sum(1) >= LEAST_CELLS) & over
        column = LEARNED.index("speech") if name == "speech_meeting" else None
        column = LEARNED.index(name) if name in LEARNED else column
        if column is not None:
            near = np.convolve(some, np.ones(3), "same") > 0  # decay and reverberation: not asked for
            target[near, column] = np.where(clear[near], 1.0, UNKNOWN)
        if name in VOICE_LIKE:
            target[some, LEARNED.index("speech")] = UNKNOWN
        if name in ("x_ringtone", "x_drum", "x_instrument"):
            target[some, LEARNED.index("music")] = UNKNOWN
    return target
