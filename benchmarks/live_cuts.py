"""Words beside the cuts of live audio: whether talk that goes on without a pause loses any where it is cut.

    python -m benchmarks.live_cuts SPEECH
    python -m benchmarks.live_cuts SPEECH --pauses keep

SPEECH is a folder with a `manifest.jsonl` of recordings and their texts, or such a file. The recordings of one language
are joined, six to a file, their pauses cut out (those of 0.12 s and more) or kept, and transcribed twice, by Whisper
alone: in the windows that live audio is cut into, and in those of up to 30 s of a recording. An error is beside a cut
that falls on the last word before it or on the first one after it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import torch

from aircheck import hardware
from aircheck.evaluation.words import words
from aircheck.inference.whisper.engine import DTYPES, WhisperEngine
from aircheck.inference.whisper.engine import Window as Sent
from aircheck.inference.whisper.weights.checkpoint import load
from aircheck.policy.own import Own, SaidWord, last_said, own_segments
from aircheck.settings import ROOT
from benchmarks import result_file
from benchmarks.wer.recordings import Recording, read, samples
from preprocessing.clip import Clip, ClipDecoder
from preprocessing.container import Limits
from preprocessing.speech_activity import (
    SAMPLE_RATE_HZ,
    SpanOptions,
    at_speech_level,
    speech_activity,
    speech_spans,
)
from preprocessing.windows import Window, cut, cut_live

JOINED = 6  # recordings to a file
PAUSE_S = 0.12  # from here on, a pause is cut out
WINDOW_S = 30.0
_BLOCK = SAMPLE_RATE_HZ // 10  # as audio comes
_PACKAGES = ("torch", "openai-whisper", "jiwer")
Cutter = Callable[[Iterator[np.ndarray]], Iterator[Window]]


def main() -> None:
    """Parse arguments, transcribe, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("speech", type=Path, help="folder or manifest of recordings")
    parser.add_argument("--pauses", choices=("remove", "keep"), default="remove")
    parser.add_argument("--recordings", type=int, default=48, help="the first so many of the manifest")
    parser.add_argument("--live-s", type=float, default=3.0, help="longest live window")
    parser.add_argument("--language", default="en")
    parser.add_argument("--whisper", default="base")
    parser.add_argument("--dtype", choices=sorted(DTYPES), default="fp32")
    result_file.add_options(parser, ROOT / "benchmarks" / "results" / "live_cuts.json", markdown)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    chosen = [one for one in read(asked.speech) if one.language == asked.language][: asked.recordings]
    files = list(_joined(chosen, asked.pauses == "remove"))
    engine = WhisperEngine(load(asked.whisper, torch.device("cpu"), DTYPES[asked.dtype]), threads=1)
    cutters: dict[str, Cutter] = {
        "live": lambda blocks: cut_live(blocks, asked.live_s),
        "windows": lambda blocks: cut(blocks, WINDOW_S),
    }
    report: dict[str, Any] = {
        "conditions": {
            "command": "python -m benchmarks.live_cuts " + " ".join(sys.argv[1:]),
            **hardware.facts(_PACKAGES),
            "whisper": asked.whisper,
            "dtype": asked.dtype,
            "pauses": asked.pauses,
            "live_window_max_s": asked.live_s,
            "recordings": len(chosen),
            "audio_s": round(sum(len(file.samples) for file in files) / SAMPLE_RATE_HZ, 1),
        }
    }
    for name, cutter in cutters.items():
        heard = [_texts(engine, file.samples, cutter, asked.language) for file in files]
        counts = [errors(file.text, texts, asked.language) for file, texts in zip(files, heard, strict=True)]
        report[name] = sum(counts[1:], counts[0]).as_dict()
        result_file.write(report, asked.out)
    print(markdown(report))


@dataclass(frozen=True)
class Errors:
    """Wrong words, by whether they lie beside a cut; deletions count on either side of where the word is missing."""

    words: int
    cuts: int
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0
    beside_cuts: int = 0

    def __add__(self, other: Errors) -> Errors:
        return Errors(*(mine + its for mine, its in zip(vars(self).values(), vars(other).values(), strict=True)))

    def as_dict(self) -> dict[str, float]:
        total = self.substitutions + self.deletions + self.insertions
        elsewhere = max(1, self.words - 2 * self.cuts)
        return {
            **vars(self),
            "rate": round(total / self.words, 4),
            "rate_beside_cuts": round(self.beside_cuts / max(1, 2 * self.cuts), 4),
            "rate_elsewhere": round((total - self.beside_cuts) / elsewhere, 4),
        }


def errors(text: str, windows: Sequence[str], language: str) -> Errors:
    """Of the windows' transcripts, in order, against what is said in all of them."""
    true = words(text, language)
    found: list[str] = []
    cuts: set[int] = set()  # places in `found`
    for window in windows:
        cuts.add(len(found))
        found += words(window, language)
    cuts -= {0, len(found)}
    kinds = {"substitute": 0, "delete": 0, "insert": 0}
    beside = 0
    for chunk in jiwer.process_words(" ".join(true), " ".join(found)).alignments[0]:
        if chunk.type == "equal":
            continue
        for at in range(max(chunk.ref_end_idx - chunk.ref_start_idx, chunk.hyp_end_idx - chunk.hyp_start_idx)):
            place = chunk.hyp_start_idx + (0 if chunk.type == "delete" else at)
            kinds[chunk.type] += 1
            beside += bool(cuts & {place, place + 1})
    return Errors(len(true), len(cuts), kinds["substitute"], kinds["delete"], kinds["insert"], beside)


def markdown(report: dict[str, Any]) -> str:
    """The figures as a table."""
    lines = ["| | cuts | words wrong | missing | added | beside a cut | elsewhere |", "|---|---|---|---|---|---|---|"]
    for name in ("live", "windows"):
        if found := report.get(name):
            total, beside, elsewhere = (
                f"{100 * found[rate]:.1f} %" for rate in ("rate", "rate_beside_cuts", "rate_elsewhere")
            )
            counts = f"{total} | {found['deletions']} | {found['insertions']}"
            lines.append(f"| {name} | {found['cuts']} | {counts} | {beside} | {elsewhere} |")
    return "\n".join(lines)


@dataclass(frozen=True)
class _File:
    samples: np.ndarray  # fp32 [samples], 16 kHz mono
    text: str


def _joined(recordings: Sequence[Recording], without_pauses: bool) -> Iterator[_File]:
    for first in range(0, len(recordings), JOINED):
        some = recordings[first : first + JOINED]
        parts = [_spoken(samples(one.path), PAUSE_S if without_pauses else np.inf) for one in some]
        yield _File(np.concatenate(parts), " ".join(one.text for one in some))


def _spoken(recording: np.ndarray, pause_s: float) -> np.ndarray:
    """From its first word to its last, without the pauses of `pause_s` and more."""
    duration_s = len(recording) / SAMPLE_RATE_HZ
    options = SpanOptions(min_silence_s=min(pause_s, duration_s), padding_s=0.04)
    spans = speech_spans(speech_activity().probabilities(at_speech_level(recording)), duration_s, options)
    parts = [recording[int(span.start_s * SAMPLE_RATE_HZ) : int(span.end_s * SAMPLE_RATE_HZ)] for span in spans]
    return np.concatenate(parts) if parts else recording


def _texts(engine: WhisperEngine, recording: np.ndarray, cutter: Cutter, language: str) -> list[str]:
    """Of each window that the recording is cut into."""
    limits = Limits(max_bytes=2**31 - 1, max_duration_s=WINDOW_S + 1, max_channels=1, max_sample_rate_hz=SAMPLE_RATE_HZ)
    decoder = ClipDecoder(engine.n_mels, limits, max_batch_size=1, threads=1)
    pending = []
    for window in cutter(recording[at : at + _BLOCK] for at in range(0, len(recording), _BLOCK)):
        (clip,) = decoder.decode([np.frombuffer(window.wav(), np.uint8)])
        if not isinstance(clip, Clip):
            raise clip
        speech = tuple((span.start_s, span.end_s) for span in clip.speech)
        is_part = window.own_s is not None
        sent = Sent(torch.from_numpy(clip.log_mel), clip.duration_s, speech, language, with_words=is_part)
        pending.append((window, sent, engine.submit(sent)))
    texts: list[str] = []
    said: tuple[SaidWord, ...] = ()
    for window, sent, passes in pending:
        segments = engine.transcript(passes.result(), sent).segments
        if window.own_s is not None:
            own = Own(start_s=window.own_s[0], end_s=window.own_s[1])
            audio_s = window.start_s - own.start_s
            segments = own_segments(segments, own.after(said, audio_s), sent.duration_s)
            said = last_said(said, segments, audio_s)
        texts.append(" ".join(segment.text for segment in segments))
    return texts


if __name__ == "__main__":
    main()
