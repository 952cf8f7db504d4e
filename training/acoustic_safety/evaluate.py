"""Measure the acoustic head on recordings whose source it never heard.

    python -m training.acoustic_safety.evaluate DATA/sounds DATA/speech --packages FOLDER --yamnet FILE

Reads the heads that `training.acoustic_safety.train` left in its work folder: one for each fold of sources, and one on
all for the recordings marked `measure`. Prints Markdown: average precision of each event over all recordings, beside
that of YAMNet's own output; recall at the shipped thresholds, alone and under speech; false events an hour.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from aircheck.evaluation.mixtures import SPEECH_LOUDER_DB, under_speech
from aircheck.inference.acoustic_safety.events import SAFETY_EVENTS
from aircheck.inference.acoustic_safety.head import LEARNED
from aircheck.inference.acoustic_safety.tflite import TfliteAcousticClassifier
from training.acoustic_safety.clips import FOLDS, SAMPLE_RATE, Clip, decode, read_manifest
from training.acoustic_safety.folds import (
    ALL,
    Scored,
    average_precision,
    false_events_per_hour,
)
from training.acoustic_safety.packages import read_packages
from training.acoustic_safety.recordings import Recordings
from training.acoustic_safety.train import WORK, load_features, load_head
from training.acoustic_safety.yamnet_weights import read_yamnet

LABELS = Path(__file__).parents[2] / "server_config" / "labels" / "acoustic_yamnet.yaml"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sounds", type=Path, help="folder with labelled recordings and manifest.jsonl")
    parser.add_argument("speech", type=Path, help="folder with recordings of speech, none of them trained on")
    parser.add_argument(
        "--packages", type=Path, required=True, help="folder with the unpacked packages, for their music"
    )
    parser.add_argument("--yamnet", type=Path, required=True, help="yamnet.tflite")
    parser.add_argument("--work", type=Path, default=WORK, help="what training left")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("\n".join(report(options.sounds, options.speech, options.packages, options.yamnet, options.work)))


def report(sounds: Path, speech: Path, packages: Path, yamnet: Path, work: Path) -> list[str]:
    """Markdown lines."""
    features = load_features(read_yamnet(yamnet)[0])
    heads = {fold: load_head(work / f"head_{fold}.safetensors") for fold in (ALL, *range(FOLDS))}
    clips, talk = read_manifest(sounds), read_manifest(speech)
    more_music = [clip for clip in read_packages(packages) if clip.label == "music"]
    labelled = Recordings.of("recordings", clips, work, features).score(heads)
    music = [recording for recording in labelled if recording.label == "music"]
    music += Recordings.of("music", more_music, work, features).score(heads)
    spoken = Recordings.of("speech", talk, work, features).score(heads)
    events = [clip for clip in clips if clip.event]
    sounds_alone, voices = ([decode(clip.path) for clip in part] for part in (events, talk))
    mixed = {}
    for louder_db in SPEECH_LOUDER_DB:
        mixtures = under_speech(sounds_alone, voices, louder_db)
        name = f"under_speech_{louder_db:g}db"
        mixed[louder_db] = Recordings.of(name, events, work, features, mixtures.__getitem__).score(heads)
    teacher = yamnet_scores(yamnet, clips)
    return [
        *_events_table(labelled, teacher, mixed),
        "",
        *_false_events_table(spoken, music, labelled),
    ]


def yamnet_scores(path: Path, clips: Sequence[Clip]) -> list[Scored]:
    """The recordings by YAMNet's own output, its labels mapped to our events."""
    classifier = TfliteAcousticClassifier.load(path, LABELS)
    scored = []
    for clip in clips:
        audio = decode(clip.path)
        duration_s = len(audio) / SAMPLE_RATE
        highest = np.zeros((1, len(LEARNED)), np.float32)
        for first in range(0, len(audio), 30 * SAMPLE_RATE):
            window = np.zeros((1, 30 * SAMPLE_RATE), np.float32)
            part = audio[first : first + 30 * SAMPLE_RATE]
            window[0, : len(part)] = part
            scores = classifier.classify(window, [len(part) / SAMPLE_RATE]).scores[0, : len(LEARNED)]
            highest = np.maximum(highest, scores)
        scored.append(Scored(clip.label, clip.source, True, duration_s, highest))
    return scored


def recall(recordings: Sequence[Scored], event: str) -> str:
    mine = [recording for recording in recordings if recording.label == event]
    found = sum(any(span.event == event for span in recording.spans()) for recording in mine)
    return f"{found} of {len(mine)}"


def _events_table(
    recordings: Sequence[Scored], teacher: Sequence[Scored], mixed: dict[float, list[Scored]]
) -> list[str]:
    lines = [
        "| event | recordings, sources | average precision | YAMNet | found "
        "| under speech 10 dB quieter | as loud | 10 dB louder |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for event in SAFETY_EVENTS:
        mine = [recording for recording in recordings if recording.label == event]
        cells = [
            event,
            f"{len(mine)}, {len({recording.source for recording in mine})}",
            f"{average_precision(recordings, event):.3f}",
            f"{average_precision(teacher, event):.3f}",
            recall(recordings, event),
            *(recall(mixed[louder_db], event) for louder_db in SPEECH_LOUDER_DB),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _false_events_table(spoken: Sequence[Scored], music: Sequence[Scored], recordings: Sequence[Scored]) -> list[str]:
    others = [r for r in recordings if r.label.startswith("x_")]
    lines = ["| harmless | recordings | hours | false events | an hour |", "| --- | --- | --- | --- | --- |"]
    for name, part in (("speech", spoken), ("music", music), ("what resembles events", others)):
        hours = sum(recording.duration_s for recording in part) / 3600
        false = sum(len(recording.spans()) for recording in part)
        lines.append(f"| {name} | {len(part)} | {hours:.2f} | {false} | {false_events_per_hour(part):.1f} |")
    return lines


if __name__ == "__main__":
    main()
