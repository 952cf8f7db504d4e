"""Mixtures with known contents: events and hard negatives over speech, music, noise or silence, then recorded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from aircheck.inference.acoustic_safety.events import EVENTS
from aircheck.inference.acoustic_safety.network import FRAME_S, FRAME_SAMPLES
from training.acoustic_safety.channel import CODECS, ROOM_T60_S, Chain, in_room, room_response
from training.acoustic_safety.dsp import SAMPLE_RATE, Audio, Rng, add_at, coloured, n_samples, rms
from training.acoustic_safety.sounds import EVENTS as EVENT_SOUNDS
from training.acoustic_safety.sounds import HARD_NEGATIVES, MUSIC, SOUNDS, SPEECH

SNR_DB = (-5.0, 20.0)
FLOOR_RMS = 0.003  # what an event is measured against where nothing else sounds
AUDIBLE = 0.1  # of the rest's power: below it a sound counts as masked
TAIL = 0.01  # of its own peak power: below it a sound counts as over
LEAST_SHARE = 0.03  # of its heard energy: a smaller fragment is not counted
MERGE_GAP_S = {"speech": 0.5, "music": 1.2}
EVENT_MERGE_GAP_S = 0.4


@dataclass(frozen=True)
class TrueSpan:
    """Where a sound is audible, s from the scene's start, and its power there against all else that sounds."""

    name: str
    start_s: float
    end_s: float
    snr_db: float


@dataclass(frozen=True)
class Scene:
    """A recording and what is in it; `truth` holds the events and, for evaluation, the hard negatives too."""

    waveform: Audio
    truth: tuple[TrueSpan, ...]

    def targets(self, n_frames: int) -> NDArray[np.uint8]:
        """Per-frame labels of all events but silence, which follows from the level, shape = (n_frames, events)."""
        labels = np.zeros((n_frames, len(EVENTS)), dtype=np.uint8)
        for span in self.truth:
            if span.name in EVENTS:
                first, last = round(span.start_s / FRAME_S), round(span.end_s / FRAME_S)
                labels[first : max(last, first + 1), EVENTS.index(span.name)] = 1
        return labels


@dataclass
class Pool:
    """Hands out sounds by name; costly ones are made `capacity` times and then reused at random."""

    capacity: dict[str, int] = field(
        default_factory=lambda: {"speech": 80, "music": 50, "babble": 12, "drone": 15, "murmur": 40}
    )
    sounds: dict[str, Callable[[Rng], Audio]] = field(default_factory=lambda: dict(SOUNDS))
    _kept: dict[str, list[Audio]] = field(default_factory=dict)

    def draw(self, rng: Rng, name: str) -> Audio:
        limit = self.capacity.get(name, 0)
        if not limit:
            return self.sounds[name](rng)
        kept = self._kept.setdefault(name, [])
        if len(kept) < limit:
            kept.append(self.sounds[name](rng))
            return kept[-1]
        return kept[int(rng.integers(limit))]


def _frame_power(audio: NDArray[np.float64]) -> NDArray[np.float64]:
    frames = len(audio) // FRAME_SAMPLES
    return np.asarray((audio[: frames * FRAME_SAMPLES].reshape(frames, FRAME_SAMPLES) ** 2).mean(1))


def _runs(active: NDArray[np.bool_], merge_frames: int) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], active, [False]]).astype(np.int8)))
    runs: list[tuple[int, int]] = []
    for first, last in zip(edges[::2], edges[1::2], strict=True):
        if runs and first - runs[-1][1] <= merge_frames:
            runs[-1] = (runs[-1][0], int(last))
        else:
            runs.append((int(first), int(last)))
    return runs


def audible_spans(
    name: str, sound: NDArray[np.float64], rest: NDArray[np.float64], floor_power: float = 0.0
) -> list[TrueSpan]:
    """Where `sound` stands out of itself and of everything else in the recording, whose noise floor has a power."""
    own, other = _frame_power(sound), _frame_power(rest) + floor_power
    loud = own > TAIL * own.max(initial=0.0)
    active = loud & (own > AUDIBLE * other) & (own > 1e-9)
    runs = _runs(active, int(MERGE_GAP_S.get(name, EVENT_MERGE_GAP_S) / FRAME_S))
    heard = sum(own[a:b].sum() for a, b in runs)
    lasting = [(a, b) for a, b in runs if own[a:b].sum() > LEAST_SHARE * heard]  # a stray shard is no second event
    spans = []
    for a, b in lasting:
        event, background = own[a:b][loud[a:b]].mean(), other[a:b].mean()
        spans.append(TrueSpan(name, a * FRAME_S, b * FRAME_S, float(10 * np.log10(event / max(background, 1e-12)))))
    return spans


def joined(truth: Sequence[TrueSpan], name: str, gap_s: float) -> list[TrueSpan]:
    """True spans of one event, where those less than a gap apart are one, as loud as the loudest."""
    spans: list[TrueSpan] = []
    for span in sorted((s for s in truth if s.name == name), key=lambda s: s.start_s):
        if spans and span.start_s - spans[-1].end_s < gap_s:
            last = spans.pop()
            span = TrueSpan(name, last.start_s, max(last.end_s, span.end_s), max(last.snr_db, span.snr_db))
        spans.append(span)
    return spans


def _loudness(sound: Audio | NDArray[np.float64]) -> float:
    """RMS of the part within 20 dB of the loudest 80 ms: what a listener calls a sound's level."""
    power = _frame_power(np.pad(np.asarray(sound, dtype=np.float64), (0, FRAME_SAMPLES)))
    return float(np.sqrt(power[power > TAIL * power.max()].mean())) if power.max(initial=0.0) > 0 else 1.0


def _fill(rng: Rng, pool: Pool, names: list[str], n: int, gap_s: float) -> NDArray[np.float64]:
    """Sounds one after another until `n` samples are full, starting in the middle of the first."""
    out, at = np.zeros(n), 0
    while at < n:
        sound = pool.draw(rng, names[int(rng.integers(len(names)))])
        if at == 0 and len(sound) > n_samples(2.0):
            sound = sound[int(rng.integers(0, len(sound) // 2)) :]
        out[at : at + len(sound)] += sound[: n - at]
        at += len(sound) + int(rng.exponential(gap_s) * SAMPLE_RATE)
    return out


def _background(rng: Rng, pool: Pool, n: int, kind: str) -> dict[str, NDArray[np.float64]]:
    """The layers that last: by name, each at an RMS of 0.1 (speech and music) or less."""
    layers: dict[str, NDArray[np.float64]] = {}
    if "speech" in kind:
        names = ["speech"] * 4 + ["murmur"]
        layers["speech"] = _fill(rng, pool, names, n, float(rng.choice([0.1, 0.5, 2.0])))
    if "music" in kind:
        layers["music"] = _fill(rng, pool, ["music"] * 4 + list(MUSIC), n, float(rng.choice([0.0, 0.3])))
    if "ambience" in kind:
        name = str(rng.choice(["rain", "wind", "babble", "engine", "passing_rumble", "typing", "footsteps"]))
        layers["ambience"] = _fill(rng, pool, [name], n, 0.2)
    if "noise" in kind:
        layers["noise"] = coloured(rng, n, rng.uniform(-7, 1))
    for name, layer in layers.items():
        level = 0.1 if len(layers) == 1 or name == "speech" else 0.1 * 10 ** (rng.uniform(-20, 0) / 20)
        layers[name] = layer * level / max(_loudness(layer), 1e-6)
    return layers


@dataclass(frozen=True)
class SceneOptions:
    """What a scene is made of."""

    duration_s: float = 10.24
    backgrounds: tuple[tuple[str, float], ...] = (
        ("speech", 0.34),
        ("music", 0.19),
        ("speech+music", 0.14),
        ("ambience", 0.07),
        ("speech+ambience", 0.08),
        ("noise", 0.04),
        ("none", 0.14),
    )
    event_odds: float = 0.6  # scenes with at least one safety event
    most_events: int = 3
    most_hard_negatives: int = 4
    hard_negative_odds: float = 0.5
    snr_db: tuple[float, float] = SNR_DB
    begun_odds: float = 0.06  # a sound that began before the scene, as windows of an episode cut them
    cut_odds: float = 0.12  # the clip ends early and zeros follow, as in a padded window
    least_inside_s: float = 0.5  # of every sound before the scene's end
    room_odds: float = 0.5  # that everything sounds in one room
    room_t60_s: tuple[float, float] = ROOM_T60_S
    codecs: tuple[tuple[str, str], ...] = CODECS
    codec_odds: float = 0.15


def _foreground(rng: Rng, options: SceneOptions) -> list[str]:
    names: list[str] = []
    if rng.random() < options.event_odds:
        names += [str(name) for name in rng.choice(list(EVENT_SOUNDS), int(rng.integers(1, options.most_events + 1)))]
    if rng.random() < options.hard_negative_odds:
        pool = [*HARD_NEGATIVES, "drums", "singing"]
        names += [str(name) for name in rng.choice(pool, int(rng.integers(1, options.most_hard_negatives + 1)))]
    return names


def make_scene(rng: Rng, pool: Pool, options: SceneOptions | None = None) -> Scene:
    """One random recording with its true spans."""
    options = options or SceneOptions()
    n = n_samples(options.duration_s)
    kinds, odds = zip(*options.backgrounds, strict=True)
    kind = str(rng.choice(kinds, p=odds))
    layers = _background(rng, pool, n, kind)
    chain = Chain.draw(rng, options.codecs, options.codec_odds)
    response = room_response(rng, options.room_t60_s) if rng.random() < options.room_odds else None
    if response is not None:
        layers = {name: in_room(layer, response)[:n] for name, layer in layers.items()}
    bed = chain.filtered(sum(layers.values(), np.zeros(n)))
    placed = [(name, chain.filtered(layer)) for name, layer in layers.items() if name in ("speech", "music")]
    total = bed.copy()
    for name in _foreground(rng, options):
        sound = np.asarray(pool.draw(rng, name), dtype=np.float64)
        if response is not None and rng.random() < 0.6:
            sound = in_room(sound, response)
        elif response is None and rng.random() < 0.3:
            sound = in_room(sound, room_response(rng, options.room_t60_s))
        track = np.zeros(n)
        start_s = float(rng.uniform(0, max(options.duration_s - options.least_inside_s, 0.1)))
        if rng.random() < options.begun_odds and len(sound) > n_samples(1.0):
            sound, start_s = sound[int(rng.integers(0, len(sound) // 2)) :], 0.0
        add_at(track, chain.filtered(sound), start_s)
        here = bed[round(start_s * SAMPLE_RATE) :][: len(sound)]
        gain = 10 ** (rng.uniform(*options.snr_db) / 20) / max(_loudness(track), 1e-6)
        track *= max(rms(here), FLOOR_RMS if layers else 0.1) * gain
        placed.append(("music" if name == "drums" else name, track))
        total += track
    floor_power = chain.floor_power(total)
    truth = [span for name, track in placed for span in audible_spans(name, track, total - track, floor_power)]
    waveform = chain.recorded(rng, total)
    if rng.random() < options.cut_odds:
        end_s = float(rng.uniform(0.1, 0.9)) * options.duration_s
        waveform[round(end_s * SAMPLE_RATE) :] = 0.0
        truth = [TrueSpan(s.name, s.start_s, min(s.end_s, end_s), s.snr_db) for s in truth if s.start_s < end_s - 0.1]
    return Scene(waveform, tuple(truth))


__all__ = ["SPEECH", "Pool", "Scene", "SceneOptions", "TrueSpan", "audible_spans", "make_scene"]
