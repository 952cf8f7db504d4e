"""Measure the embedded acoustic classifier on sounds it never heard: `python -m training.acoustic_safety.evaluate`.

Other seeds than training's, and speech by voices and languages kept out of it. Four parts: events in mixtures at 0 dB
or more, look-alikes one at a time, hours of plain speech and of music, and the context classes. Everything goes
through `EmbeddedAcousticClassifier` in 30 s windows, as the server does it.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from aircheck.inference.acoustic_safety.classifier import WINDOW_SAMPLES
from aircheck.inference.acoustic_safety.embedded import WEIGHTS_PATH, EmbeddedAcousticClassifier
from aircheck.inference.acoustic_safety.events import SAFETY_EVENTS
from aircheck_client.schema import EventSpan
from training.acoustic_safety.channel import record
from training.acoustic_safety.dsp import SAMPLE_RATE, Audio, Rng
from training.acoustic_safety.music import arrangement
from training.acoustic_safety.scenes import Pool, SceneOptions, TrueSpan, make_scene
from training.acoustic_safety.sounds import LOOKALIKES, SOUNDS
from training.acoustic_safety.speech import held_out_speech

TOLERANCE_S = 0.5
BATCH = 8
WINDOW_S = WINDOW_SAMPLES / SAMPLE_RATE


def evaluation_pool() -> Pool:
    return Pool(sounds={**SOUNDS, "speech": held_out_speech})


@dataclass
class Counts:
    """Matches of one event, by onset alone and by onset and offset."""

    true: int = 0
    reported: int = 0
    found: Counter[str] = field(default_factory=Counter)  # true spans matched by a detection, by criterion
    right: Counter[str] = field(default_factory=Counter)  # detections that match a true span
    onset_error_s: list[float] = field(default_factory=list)

    def add(self, truth: list[TrueSpan], spans: list[EventSpan]) -> None:
        """Onset within the tolerance; offset within it or a fifth of the true length, whichever is larger (DCASE)."""

        def onset(true: TrueSpan, span: EventSpan) -> bool:
            return abs(true.start_s - span.start_s) <= TOLERANCE_S

        def both(true: TrueSpan, span: EventSpan) -> bool:
            reach_s = max(TOLERANCE_S, 0.2 * (true.end_s - true.start_s))
            return onset(true, span) and abs(true.end_s - span.end_s) <= reach_s

        self.true += len(truth)
        self.reported += len(spans)
        for name, matches in (("onset", onset), ("both", both)):
            self.found[name] += sum(any(matches(true, span) for span in spans) for true in truth)
            self.right[name] += sum(any(matches(true, span) for true in truth) for span in spans)
        self.onset_error_s += [abs(t.start_s - s.start_s) for t in truth for s in spans if onset(t, s)]

    def _f1(self, criterion: str) -> float:
        recall, precision = self.found[criterion] / max(self.true, 1), self.right[criterion] / max(self.reported, 1)
        return round(2 * precision * recall / max(precision + recall, 1e-9), 3)

    def summary(self) -> dict[str, float]:
        return {
            "f1": self._f1("both"),
            "onset_f1": self._f1("onset"),
            "onset_recall": round(self.found["onset"] / max(self.true, 1), 3),
            "onset_precision": round(self.right["onset"] / max(self.reported, 1), 3),
            "true": self.true,
            "median_onset_error_s": round(float(np.median(self.onset_error_s)), 3) if self.onset_error_s else -1.0,
        }


def seconds_with(spans: Iterable[TrueSpan | EventSpan]) -> set[int]:
    """The whole seconds in which a class is present for at least half a second."""
    cover = np.zeros(round(WINDOW_S * 100), dtype=bool)
    for span in spans:
        cover[round(span.start_s * 100) : round(span.end_s * 100)] = True
    return set(np.flatnonzero(cover.reshape(-1, 100).mean(1) >= 0.5).tolist())


def joined(truth: tuple[TrueSpan, ...], name: str, gap_s: float = 0.5) -> list[TrueSpan]:
    """True spans of one event where neighbours closer than the detector can part are one."""
    spans: list[TrueSpan] = []
    for span in sorted((s for s in truth if s.name == name), key=lambda s: s.start_s):
        if spans and span.start_s - spans[-1].end_s < gap_s:
            last = spans.pop()
            span = TrueSpan(name, last.start_s, max(last.end_s, span.end_s), max(last.snr_db, span.snr_db))
        spans.append(span)
    return spans


def _windows(sounds: Iterator[Audio]) -> Iterator[Audio]:
    """Endless sounds cut into full windows."""
    kept, length = [], 0
    for sound in sounds:
        kept.append(sound)
        length += len(sound)
        while length >= WINDOW_SAMPLES:
            joined_up = np.concatenate(kept)
            yield joined_up[:WINDOW_SAMPLES]
            kept, length = [joined_up[WINDOW_SAMPLES:]], length - WINDOW_SAMPLES


def _detect(classifier: EmbeddedAcousticClassifier, clips: list[Audio]) -> list[tuple[EventSpan, ...]]:
    found: list[tuple[EventSpan, ...]] = []
    for first in range(0, len(clips), BATCH):
        batch = clips[first : first + BATCH]
        padded = np.stack([np.pad(clip, (0, WINDOW_SAMPLES - len(clip))) for clip in batch])
        found += [f.spans for f in classifier.detect(padded, [len(clip) / SAMPLE_RATE for clip in batch])]
    return found


def events_in_mixtures(classifier: EmbeddedAcousticClassifier, rng: Rng, windows: int) -> dict[str, dict[str, float]]:
    """In 30 s mixtures, events at 0 to 20 dB: span F1 of every safety event, 1 s segment F1 of speech and music."""
    options = SceneOptions(
        duration_s=WINDOW_S, event_odds=0.9, most_events=4, snr_db=(0.0, 20.0), begun_odds=0.0, cut_odds=0.0
    )
    pool = evaluation_pool()
    counts: defaultdict[str, Counts] = defaultdict(Counts)
    segments: defaultdict[str, Counter[str]] = defaultdict(Counter)
    scenes = [make_scene(rng, pool, options) for _ in range(windows)]
    for scene, spans in zip(scenes, _detect(classifier, [s.waveform for s in scenes]), strict=True):
        for event in SAFETY_EVENTS:
            counts[event].add(joined(scene.truth, event), [s for s in spans if s.event == event])
        for event in ("speech", "music"):
            true = seconds_with(s for s in scene.truth if s.name == event)
            found = seconds_with(s for s in spans if s.event == event)
            segments[event].update(hit=len(true & found), total=len(true) + len(found))
    return {event: c.summary() for event, c in counts.items()} | {
        event: {"segment_f1": round(2 * c["hit"] / max(c["total"], 1), 3)} for event, c in segments.items()
    }


def lookalike_rate(classifier: EmbeddedAcousticClassifier, rng: Rng, each: int) -> dict[str, Mapping[str, float]]:
    """Share of look-alikes, one a clip through a random recording chain, on which any safety event fires."""
    names = [*LOOKALIKES, "drums", "singing"]
    clips, labels = [], []
    for name in names:
        for _ in range(each):
            around = np.zeros(2 * SAMPLE_RATE)
            clips.append(record(rng, np.concatenate([around, SOUNDS[name](rng)[: 20 * SAMPLE_RATE], around])))
            labels.append(name)
    fired: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    for name, spans in zip(labels, _detect(classifier, clips), strict=True):
        wrong = {span.event for span in spans} & set(SAFETY_EVENTS)
        fired[name] += bool(wrong)
        kinds.update(f"{name}: {event}" for event in wrong)
    rates = {name: round(fired[name] / each, 3) for name in names if fired[name]}
    return {"all": {"rate": round(sum(fired.values()) / len(labels), 4)}, "by_name": rates, "confusions": dict(kinds)}


def false_events(
    classifier: EmbeddedAcousticClassifier, rng: Rng, sounds: Iterator[Audio], hours: float, context: str
) -> dict[str, float]:
    """Safety spans an hour of harmless audio raises, and the share of it recognised as its context class."""
    wanted = round(hours * 3600 / WINDOW_S)
    false: Counter[str] = Counter()
    recognised_s, stream = 0.0, _windows(sounds)
    for first in range(0, wanted, BATCH):
        clips = [record(rng, next(stream).astype(np.float64)) for _ in range(min(BATCH, wanted - first))]
        for spans in _detect(classifier, clips):
            false.update(span.event for span in spans if span.event in SAFETY_EVENTS)
            recognised_s += sum(span.end_s - span.start_s for span in spans if span.event == context)
    per_hour = {event: round(count / hours, 2) for event, count in false.items()}
    return {"hours": hours, "false_per_hour": round(sum(false.values()) / hours, 2), **per_hour,
            f"{context}_share": round(recognised_s / (hours * 3600), 3)}  # fmt: skip


def forever(rng: Rng, music: bool) -> Iterator[Audio]:
    """Speech by held-out voices with pauses, or music."""
    while True:
        if music:
            yield arrangement(rng)
        else:
            yield held_out_speech(rng)
            yield np.zeros(int(rng.uniform(0.1, 0.8) * SAMPLE_RATE), dtype=np.float32)


def silence_share(classifier: EmbeddedAcousticClassifier, rng: Rng) -> dict[str, float]:
    """Share of near-silent windows (noise floors of -80 to -55 dBFS, and digital zero) found silent."""
    levels = [0.0, *(10 ** (rng.uniform(-80, -55, 15) / 20))]
    clips = [(level * rng.standard_normal(WINDOW_SAMPLES)).astype(np.float32) for level in levels]
    found = [sum(s.end_s - s.start_s for s in spans if s.event == "silence") for spans in _detect(classifier, clips)]
    return {"silence_share": round(float(np.mean(found)) / WINDOW_S, 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, default=WEIGHTS_PATH)
    parser.add_argument("--seed", type=int, default=777)
    parser.add_argument("--windows", type=int, default=240, help="30 s mixtures")
    parser.add_argument("--lookalikes", type=int, default=15, help="clips of each look-alike")
    parser.add_argument("--speech-hours", type=float, default=1.0)
    parser.add_argument("--music-hours", type=float, default=0.4)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    classifier = EmbeddedAcousticClassifier.load(torch.device("cpu"), options.weights)

    def rng(part: int) -> Rng:
        return np.random.default_rng([options.seed, part])

    begun = time.monotonic()
    parts = {
        "events": lambda: events_in_mixtures(classifier, rng(0), options.windows),
        "lookalikes": lambda: lookalike_rate(classifier, rng(1), options.lookalikes),
        "speech": lambda: false_events(classifier, rng(2), forever(rng(3), False), options.speech_hours, "speech"),
        "music": lambda: false_events(classifier, rng(4), forever(rng(5), True), options.music_hours, "music"),
        "silence": lambda: silence_share(classifier, rng(6)),
    }
    for name, measure in parts.items():
        print(json.dumps({name: measure()}, indent=1), flush=True)
    print(f"{time.monotonic() - begun:.0f} s", flush=True)


if __name__ == "__main__":
    main()
