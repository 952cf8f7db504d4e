"""Speech activity: what it misses of people, what it takes for a voice, how fast it is, and how windows are cut by it.

    python -m benchmarks.speech_activity SPEECH/manifest.jsonl SOUNDS/manifest.jsonl
    python -m benchmarks.speech_activity SPEECH/manifest.jsonl SOUNDS/manifest.jsonl --cutting

A manifest has a line of JSON for each recording beside it: `file`, and `label` and `use` for sounds, which hold no
speech unless their label begins with "speech". Measured:

  missed       clips of speech in which none is found; and of their active time, the share outside every span of speech.
               Active are the 32 ms chunks at most 25 dB below the clip's loud ones (the 95th percentile of its chunks)
  false        sounds in which speech is found, and the seconds of it, by label
  speed        seconds of audio for each second of one core (CPU time), in windows of 30 s; and the same of the package
               silero-vad, whose TorchScript model takes a chunk a call
  --cutting    clips of `en` speech trimmed and joined with pauses of 0.3 s, as continuous talk, and joined as they are:
               seconds of speech in each window that is cut from it, and cuts that fall into speech
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.markdown import Markdown

from aircheck import hardware
from aircheck.settings import ROOT
from benchmarks import result_file
from preprocessing.clip import CLIP_S, N_SAMPLES
from preprocessing.container import Limits
from preprocessing.decoding import DecodeReport, decode
from preprocessing.speech_activity import CHUNK, CHUNK_S, SAMPLE_RATE_HZ, Span, SpanOptions, speech_activity
from preprocessing.windows import cut

RESULT = ROOT / "benchmarks" / "results" / "speech_activity.json"
LIMITS = Limits(max_bytes=2**28, max_duration_s=600, max_channels=8, max_sample_rate_hz=192_000)
LEVELS_DB = (0, -20, -40, -60)
ACTIVE_DB = 25
_BARE = SpanOptions(padding_s=0.0, min_silence_s=0.1)  # as windows are cut by
_EDGE_S = 0.05  # a cut this near to the end of a span is not in it: the span was found in another context


@dataclass(frozen=True)
class Recording:
    """A line of a manifest, with its audio."""

    label: str
    use: str
    language: str
    samples: np.ndarray  # fp32 [samples], 16 kHz mono

    @property
    def duration_s(self) -> float:
        return len(self.samples) / SAMPLE_RATE_HZ


def main() -> None:
    """Parse arguments, measure, print, write."""
    asked = _parse()
    torch.set_num_threads(1)
    speech, sounds = recordings(asked.speech), recordings(asked.sounds)
    report: dict[str, Any] = {
        "conditions": {
            "command": "python -m benchmarks.speech_activity " + " ".join(sys.argv[1:]),
            **hardware.facts(("silero-vad", "torch", "numpy")),
            "threads": 1,
        },
        "speed": speed(np.concatenate([item.samples for item in speech])),
        "missed": [missed(speech, level_db) for level_db in LEVELS_DB],
        "false": false(sounds),
    }
    if asked.cutting:
        talk = [item.samples for item in speech if item.language == "en"]
        report["cutting"] = [cutting(name, parts) for name, parts in joined(talk).items()]
    Console(highlight=False).print(Markdown(markdown(report)))
    result_file.write(report, asked.out)


def recordings(manifest: Path) -> list[Recording]:
    """The recordings that a manifest lists."""
    lines = [json.loads(line) for line in manifest.read_text().splitlines() if line.strip()]
    return [
        Recording(
            label=line.get("label", "speech"),
            use=line.get("use", ""),
            language=line.get("language", ""),
            samples=np.concatenate(list(decode((manifest.parent / line["file"]).read_bytes(), LIMITS, DecodeReport()))),
        )
        for line in lines
    ]


def missed(speech: Sequence[Recording], level_db: float) -> dict[str, Any]:
    """What is not found of people who speak, with every clip amplified by `level_db` and rounded to 16 bits."""
    without, active_s, missed_s, found_s = 0, 0.0, 0.0, 0.0
    for item in speech:
        samples = np.round(item.samples * 10 ** (level_db / 20) * 2**15).astype(np.float32) / 2**15
        spans = speech_activity().spans(samples)
        active = is_active(item.samples)
        without += not spans
        active_s += active.sum() * CHUNK_S
        missed_s += (active & ~covered(spans, len(active))).sum() * CHUNK_S
        found_s += seconds(spans)
    return {
        "level_db": level_db,
        "clips": len(speech),
        "clips_without_speech": without,
        "duration_s": round(sum(item.duration_s for item in speech), 1),
        "speech_s": round(found_s, 1),
        "active_s": round(active_s, 1),
        "missed_active_s": round(missed_s, 1),
    }


def is_active(samples: np.ndarray) -> np.ndarray:
    """bool [whole chunks]: at most ACTIVE_DB below the clip's loud chunks."""
    chunks = samples[: len(samples) // CHUNK * CHUNK].reshape(-1, CHUNK)
    level = np.sqrt(np.square(chunks).mean(1))
    return level > np.quantile(level, 0.95) * 10 ** (-ACTIVE_DB / 20)


def covered(spans: Sequence[Span], n_chunks: int) -> np.ndarray:
    """bool [n_chunks]: the middle of the chunk lies within a span."""
    middles = (np.arange(n_chunks) + 0.5) * CHUNK_S
    return np.any([(span.start_s <= middles) & (middles <= span.end_s) for span in spans] or [middles < 0], axis=0)


def seconds(spans: Sequence[Span]) -> float:
    return sum(span.duration_s for span in spans)


def false(sounds: Sequence[Recording]) -> list[dict[str, Any]]:
    """For each use and label, how much of the sounds is called speech."""
    groups: dict[tuple[str, str], list[Recording]] = defaultdict(list)
    for item in sounds:
        groups[item.use, item.label].append(item)
    rows = []
    for (use, label), items in sorted(groups.items()):
        spans = [speech_activity().spans(item.samples) for item in items]
        rows.append(
            {
                "use": use,
                "label": label,
                "clips": len(items),
                "clips_with_speech": sum(map(bool, spans)),
                "duration_s": round(sum(item.duration_s for item in items), 1),
                "speech_s": round(sum(map(seconds, spans)), 1),
            }
        )
    return rows


def speed(samples: np.ndarray) -> dict[str, float]:
    """Seconds of audio for each second of CPU time, over windows of 30 s; the best of five."""
    windows = [samples[first : first + N_SAMPLES] for first in range(0, 10 * N_SAMPLES, N_SAMPLES)]
    package = importlib.import_module("silero_vad").load_silero_vad()  # sets torch to one thread, as we did

    def packages() -> None:
        package.reset_states()
        for chunk in torch.from_numpy(windows[0][: N_SAMPLES // CHUNK * CHUNK]).split(CHUNK):
            package(chunk, SAMPLE_RATE_HZ)

    return {
        "ours": round(10 * CLIP_S / _least_s(lambda: [speech_activity().spans(window) for window in windows])),
        "silero-vad": round(CLIP_S / _least_s(packages)),
    }


def _least_s(work: Callable[[], object]) -> float:
    times_s = []
    for _ in range(5):
        begun_s = time.thread_time()
        work()
        times_s.append(time.thread_time() - begun_s)
    return min(times_s)


def joined(talk: Sequence[np.ndarray]) -> dict[str, list[np.ndarray]]:
    """Long recordings made of clips, by how they are joined."""
    trimmed = []
    pause = np.zeros(round(0.3 * SAMPLE_RATE_HZ), np.float32)
    for samples in talk:
        spans = speech_activity().spans(samples)
        first, end = (round(time_s * SAMPLE_RATE_HZ) for time_s in (spans[0].start_s, spans[-1].end_s))
        trimmed += [samples[first:end], pause]
    return {"continuous talk, pauses of 0.3 s between clips": trimmed, "clips as they are": list(talk)}


def cutting(name: str, parts: list[np.ndarray]) -> dict[str, Any]:
    """How full the windows are that are cut from the joined parts, and where the cuts fall."""
    windows = list(cut(parts, CLIP_S))
    whole = speech_activity().spans(np.concatenate(parts), _BARE)
    inside = [
        after.start_s
        for _, after in pairwise(windows)
        if any(span.start_s + _EDGE_S < after.start_s < span.end_s - _EDGE_S for span in whole)
    ]
    speech_s = [seconds(speech_activity().spans(window.samples)) for window in windows]
    return {
        "recording": name,
        "duration_s": round(sum(window.duration_s for window in windows), 1),
        "windows": len(windows),
        "window_s": round(float(np.mean([window.duration_s for window in windows])), 2),
        "speech_s_a_window": round(float(np.mean(speech_s)), 2),
        "shortest_window_s": round(min(window.duration_s for window in windows), 2),
        "cuts_in_speech": len(inside),
    }


def markdown(report: dict[str, Any]) -> str:
    """The tables of a result."""
    speed_ = report["speed"]
    lines = [
        f"Audio seconds a second of one core: {speed_['ours']} (the package silero-vad: {speed_['silero-vad']}).",
        "",
        "| speech at | clips | without speech | speech found, s | active time missed |",
        "|---|---|---|---|---|",
    ]
    for row in report["missed"]:
        share = row["missed_active_s"] / row["active_s"]
        lines.append(
            f"| {row['level_db']} dB | {row['clips']} | {row['clips_without_speech']} "
            f"| {row['speech_s']:.0f} of {row['duration_s']:.0f} | {share:.2%} |"
        )
    lines += [
        "",
        "| sounds | label | clips | called speech | seconds | called speech, s |",
        "|---|---|---|---|---|---|",
    ]
    for row in [*report["false"], *_totals(report["false"])]:
        lines.append(
            f"| {row['use']} | {row['label']} | {row['clips']} | {row['clips_with_speech']} "
            f"| {row['duration_s']:.0f} | {row['speech_s']:.1f} |"
        )
    if "cutting" in report:
        lines += [
            "",
            "| recording | seconds | windows | mean window, s | speech a window, s | cuts in speech |",
            "|---|---|---|---|---|---|",
        ]
        lines += [
            f"| {row['recording']} | {row['duration_s']:.0f} | {row['windows']} | {row['window_s']} "
            f"| {row['speech_s_a_window']} | {row['cuts_in_speech']} |"
            for row in report["cutting"]
        ]
    return "\n".join(lines)


def _totals(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """All sounds of a use but those that hold speech."""
    counted = ("clips", "clips_with_speech", "duration_s", "speech_s")
    totals = []
    for use in sorted({row["use"] for row in rows}):
        silent = [row for row in rows if row["use"] == use and not row["label"].startswith("speech")]
        sums = {key: sum(row[key] for row in silent) for key in counted}
        totals.append({"use": use, "label": "all without speech", **sums})
    return totals


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("speech", type=Path, help="manifest of recordings of people")
    parser.add_argument("sounds", type=Path, help="manifest of sounds")
    parser.add_argument("--cutting", action="store_true", help="also cut joined clips into windows")
    result_file.add_options(parser, RESULT, markdown)
    return parser.parse_args()


if __name__ == "__main__":
    main()
