"""Measure the embedded acoustic classifier on sounds it never heard: `python -m training.acoustic_safety.evaluate`.

Other random draws than training's, and speech by voices and languages kept out of it. Everything goes through
`EmbeddedAcousticClassifier` in 30 s windows, as the server does it. Parts:

  events      mixtures at 0 to 20 dB: precision, recall and F1 of each event, by level, and what was taken for what
  held_out    the same with event kinds, halls and a codec (Opus) that training never had
  hard_negatives  harmless sounds, one a clip: how many raise an event
  speech      false events an hour of plain speech; music, of plain music
  silence     whether near-silence is found

An event counts when it lies at 0 dB or more against all else that sounds while it does; a fainter one is neither asked
for nor held against the network. How spans are matched: `aircheck.evaluation.events`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from aircheck.evaluation.events import BOTH, ONSET, TOLERANCE_S, pair
from aircheck.inference.acoustic_safety.classifier import WINDOW_SAMPLES
from aircheck.inference.acoustic_safety.embedded import MERGE_GAPS_S, WEIGHTS_PATH, EmbeddedAcousticClassifier
from aircheck.inference.acoustic_safety.events import SAFETY_EVENTS
from aircheck_client.schema import EventSpan
from training.acoustic_safety import held_out
from training.acoustic_safety.channel import record
from training.acoustic_safety.dsp import SAMPLE_RATE, Audio, Rng
from training.acoustic_safety.metrics import Scores, overlap
from training.acoustic_safety.music import arrangement
from training.acoustic_safety.scenes import Pool, Scene, SceneOptions, TrueSpan, joined, make_scene
from training.acoustic_safety.sounds import HARD_NEGATIVES, SOUNDS
from training.acoustic_safety.speech import held_out_speech

LEAST_SNR_DB = 0.0
LEVELS_DB = ((0.0, 6.0), (6.0, 12.0), (12.0, 20.0))  # of a window's events over its background, taken in turn
BATCH = 8
WINDOW_S = WINDOW_SAMPLES / SAMPLE_RATE
MIXTURES = SceneOptions(
    duration_s=WINDOW_S, event_odds=0.9, most_events=4, begun_odds=0.0, cut_odds=0.0, least_inside_s=1.0
)

Report = dict[str, Any]  # what `--json` writes


def evaluation_pool(**others: Any) -> Pool:
    return Pool(sounds={**SOUNDS, "speech": held_out_speech, **others})


def seconds_with(spans: Iterable[TrueSpan | EventSpan]) -> set[int]:
    """The whole seconds in which a class is present for at least half a second."""
    cover = np.zeros(round(WINDOW_S * 100), dtype=bool)
    for span in spans:
        cover[round(span.start_s * 100) : round(span.end_s * 100)] = True
    return set(np.flatnonzero(cover.reshape(-1, 100).mean(1) >= 0.5).tolist())


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


def _due_and_excused(scene: Scene, event: str) -> tuple[list[TrueSpan], list[TrueSpan]]:
    spans = joined(scene.truth, event, MERGE_GAPS_S[event])
    return [s for s in spans if s.snr_db >= LEAST_SNR_DB], [s for s in spans if s.snr_db < LEAST_SNR_DB]


def score_event(scene: Scene, spans: tuple[EventSpan, ...], event: str) -> Scores:
    """One window's scores of one event."""
    scores, (due, excused) = Scores(), _due_and_excused(scene, event)
    scores.add(due, [span for span in spans if span.event == event], excused)
    return scores


def confusions(scene: Scene, spans: tuple[EventSpan, ...]) -> Iterator[str]:
    """What was missed or wrongly reported, as «true → reported»: which event stood in for which, or none."""
    for event in SAFETY_EVENTS:
        due, excused = _due_and_excused(scene, event)
        found = [span for span in spans if span.event == event]
        pairs = pair(due, found, ONSET)
        for index, true in enumerate(due):
            if index not in pairs:
                others = [
                    s.event
                    for s in spans
                    if s.event in SAFETY_EVENTS
                    and s.event != event
                    and abs(s.start_s - true.start_s) <= TOLERANCE_S
                    and not any(t.name == s.event and overlap(t, s) for t in scene.truth)
                ]
                yield f"{event} → {others[0] if others else 'late or early' if _near(true, found) else 'nothing'}"
        for index, span in enumerate(found):
            if index not in pairs.values() and not any(overlap(span, e) for e in [*excused, *due]):
                near = [t.name for t in scene.truth if t.name != "speech" and overlap(t, span)]
                yield f"{near[0] if near else 'nothing'} → {event}"


def _near(true: TrueSpan, found: list[EventSpan]) -> bool:
    return any(overlap(true, span) for span in found)


def events_in_mixtures(
    classifier: EmbeddedAcousticClassifier, rng: Rng, windows: int, pool: Pool, options: SceneOptions = MIXTURES
) -> Report:
    """Span scores of every safety event over 30 s mixtures, by level; 1 s segment F1 of speech and music."""
    by_level: dict[str, list[Scores]] = {event: [Scores() for _ in LEVELS_DB] for event in SAFETY_EVENTS}
    segments: defaultdict[str, Counter[str]] = defaultdict(Counter)
    mistaken: Counter[str] = Counter()
    for first in range(0, windows, BATCH):
        levels = [number % len(LEVELS_DB) for number in range(first, min(first + BATCH, windows))]
        scenes = [make_scene(rng, pool, replace(options, snr_db=LEVELS_DB[level])) for level in levels]
        found = _detect(classifier, [scene.waveform for scene in scenes])
        for level, scene, spans in zip(levels, scenes, found, strict=True):
            for event in SAFETY_EVENTS:
                by_level[event][level].extend(score_event(scene, spans, event))
            mistaken.update(confusions(scene, spans))
            for event in ("speech", "music"):
                true = seconds_with(s for s in scene.truth if s.name == event)
                heard = seconds_with(s for s in spans if s.event == event)
                segments[event].update(hit=len(true & heard), total=len(true) + len(heard))
    report: Report = {"windows": windows, "events": {}}
    for event, levels_of in by_level.items():
        whole = Scores()
        for part in levels_of:
            whole.extend(part)
        slices = {
            f"{low:g} to {high:g} dB": part.summary() for (low, high), part in zip(LEVELS_DB, levels_of, strict=True)
        }
        report["events"][event] = {**whole.summary(), "by_level": slices}
    for criterion in (ONSET, BOTH):
        key = f"{criterion.name}_f1"
        report[f"macro_{key}"] = round(float(np.mean([r[key] for r in report["events"].values()])), 3)
    report["mistaken"] = dict(mistaken.most_common())
    report["segment_f1"] = {event: round(2 * c["hit"] / max(c["total"], 1), 3) for event, c in segments.items()}
    return report


def held_out_kinds(classifier: EmbeddedAcousticClassifier, seed: int, windows: int) -> Report:
    """The mixtures again, each time with one thing that training never had."""
    hall = replace(MIXTURES, room_odds=1.0, room_t60_s=held_out.HALL_T60_S)
    opus = replace(MIXTURES, codecs=held_out.CODECS, codec_odds=1.0)
    slices = {
        "other kinds of every event": (evaluation_pool(**held_out.EVENTS), MIXTURES),
        "halls, 1.3 to 2.5 s": (evaluation_pool(), hall),
        "Opus, 24 to 64 kbit/s": (evaluation_pool(), opus),
    }
    return {
        name: events_in_mixtures(classifier, np.random.default_rng([seed, 7, index]), windows, pool, options)
        for index, (name, (pool, options)) in enumerate(slices.items())
    }


def hard_negative_rate(classifier: EmbeddedAcousticClassifier, rng: Rng, each: int) -> Report:
    """Share of hard negatives, one a clip through a random recording chain, on which any safety event fires."""
    names = [*HARD_NEGATIVES, "drums", "singing"]
    fired: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    for name in names:
        around = np.zeros(2 * SAMPLE_RATE)
        clips = [
            record(rng, np.concatenate([around, SOUNDS[name](rng)[: 20 * SAMPLE_RATE], around])) for _ in range(each)
        ]
        for spans in _detect(classifier, clips):
            wrong = {span.event for span in spans} & set(SAFETY_EVENTS)
            fired[name] += bool(wrong)
            kinds.update(f"{name} → {event}" for event in wrong)
    return {
        "kinds": len(names),
        "clips": len(names) * each,
        "rate": round(fired.total() / (len(names) * each), 4),
        "by_kind": {name: round(fired[name] / each, 3) for name in names},
        "mistaken": dict(kinds.most_common()),
    }


def false_events(
    classifier: EmbeddedAcousticClassifier, rng: Rng, sounds: Iterator[Audio], hours: float, context: str
) -> Report:
    """Safety spans an hour of harmless audio raises, and the share of it recognised as its context class."""
    wanted = max(1, round(hours * 3600 / WINDOW_S))
    hours = wanted * WINDOW_S / 3600
    false: Counter[str] = Counter()
    recognised_s, stream = 0.0, _windows(sounds)
    for first in range(0, wanted, BATCH):
        clips = [record(rng, next(stream).astype(np.float64)) for _ in range(min(BATCH, wanted - first))]
        for spans in _detect(classifier, clips):
            false.update(span.event for span in spans if span.event in SAFETY_EVENTS)
            recognised_s += sum(span.end_s - span.start_s for span in spans if span.event == context)
    return {
        "hours": round(hours, 3),
        "false_events": false.total(),
        "false_per_hour": round(false.total() / hours, 2),
        "by_event": dict(false),
        f"{context}_share": round(recognised_s / (hours * 3600), 3),
    }


def forever(rng: Rng, music: bool) -> Iterator[Audio]:
    """Speech by held-out voices with pauses, or music."""
    while True:
        if music:
            yield arrangement(rng)
        else:
            yield held_out_speech(rng)
            yield np.zeros(int(rng.uniform(0.1, 0.8) * SAMPLE_RATE), dtype=np.float32)


def silence_share(classifier: EmbeddedAcousticClassifier, rng: Rng) -> Report:
    """Share of near-silent windows (noise floors of -80 to -55 dBFS, and digital zero) found silent."""
    levels = [0.0, *(10 ** (rng.uniform(-80, -55, 15) / 20))]
    clips = [(level * rng.standard_normal(WINDOW_SAMPLES)).astype(np.float32) for level in levels]
    found = [sum(s.end_s - s.start_s for s in spans if s.event == "silence") for spans in _detect(classifier, clips)]
    return {"share": round(float(np.mean(found)) / WINDOW_S, 3)}


def show_events(title: str, report: Report) -> None:
    """A table for the terminal."""
    print(f"\n{title}: {report['windows']} windows of 30 s; F1 with 95 % intervals")
    print(f"  {'event':15s} {'true':>5s}  {'onset':22s} {'precision':>9s} {'recall':>7s}  onset and offset")
    for event, row in report["events"].items():
        low, high = row["onset_f1_interval"] or (0.0, 0.0)
        low_both, high_both = row["onset_and_offset_f1_interval"] or (0.0, 0.0)
        print(
            f"  {event:15s} {row['true']:5d}  {row['onset_f1']:.3f} ({low:.3f}–{high:.3f})  "
            f"{row['onset_precision']:10.3f} {row['onset_recall']:7.3f}  "
            f"{row['onset_and_offset_f1']:.3f} ({low_both:.3f}–{high_both:.3f})"
        )
        levels = "  ".join(
            f"{name}: P {part['onset_precision']:.2f} R {part['onset_recall']:.2f} F1 {part['onset_f1']:.2f}"
            for name, part in row["by_level"].items()
        )
        print(f"      {levels}")
    print(f"  mean F1 {report['macro_onset_f1']:.3f} onset, {report['macro_onset_and_offset_f1']:.3f} onset and offset")
    print(f"  mistaken: {', '.join(f'{what} {count}' for what, count in report['mistaken'].items()) or 'none'}")
    print(f"  1 s segments: {report['segment_f1']}", flush=True)


def show(name: str, report: Report) -> None:
    """Print one part."""
    if name == "events":
        show_events("Events at 0 to 20 dB", report)
    elif name == "held_out":
        for title, part in report.items():
            show_events(f"Held out: {title}", part)
    else:
        print(f"\n{name}: {json.dumps(report, ensure_ascii=False)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, default=WEIGHTS_PATH, help="default: those the server loads")
    parser.add_argument("--seed", type=int, default=777, help="any but training's 2026 (%(default)s)")
    parser.add_argument("--windows", type=int, default=150, help="30 s mixtures (%(default)s)")
    parser.add_argument("--held-out-windows", type=int, default=45, help="of each held-out slice (%(default)s)")
    parser.add_argument("--hard-negatives", type=int, default=10, help="clips of each hard negative (%(default)s)")
    parser.add_argument("--speech-hours", type=float, default=1.0, help="(%(default)s)")
    parser.add_argument("--music-hours", type=float, default=0.4, help="(%(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="of torch (%(default)s)")
    parser.add_argument("--json", type=Path, help="also write everything measured to this file")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    classifier = EmbeddedAcousticClassifier.load(torch.device("cpu"), options.weights)

    def rng(part: int) -> Rng:
        return np.random.default_rng([options.seed, part])

    begun = time.monotonic()
    parts = {
        "events": lambda: events_in_mixtures(classifier, rng(0), options.windows, evaluation_pool()),
        "held_out": lambda: held_out_kinds(classifier, options.seed, options.held_out_windows),
        "hard_negatives": lambda: hard_negative_rate(classifier, rng(1), options.hard_negatives),
        "speech": lambda: false_events(classifier, rng(2), forever(rng(3), False), options.speech_hours, "speech"),
        "music": lambda: false_events(classifier, rng(4), forever(rng(5), True), options.music_hours, "music"),
        "silence": lambda: silence_share(classifier, rng(6)),
    }
    whole: Report = {"model_version": classifier.version, "seed": options.seed, "least_snr_db": LEAST_SNR_DB}
    for name, measure in parts.items():
        whole[name] = measure()
        show(name, whole[name])
        if options.json is not None:
            options.json.write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n")
    print(f"\n{time.monotonic() - begun:.0f} s", flush=True)


if __name__ == "__main__":
    main()
