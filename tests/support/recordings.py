"""Recordings of people, which lie beside the repository where they are at hand; tests that need them skip elsewhere."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from preprocessing.container import Limits
from preprocessing.decoding import SAMPLE_RATE_HZ, DecodeReport, decode
from preprocessing.speech_activity import SpanOptions, at_speech_level, speech_activity, speech_spans

SPEECH = Path(__file__).parents[3] / "shared" / "data" / "speech"
_LIMITS = Limits(max_bytes=2**26, max_duration_s=60, max_channels=2, max_sample_rate_hz=48_000)


def human_speech() -> list[np.ndarray]:
    """The LibriSpeech clips, fp32 [samples] each, 16 kHz mono."""
    return [samples_of(path) for path in sorted(SPEECH.glob("libri_*"))]


def samples_of(path: Path) -> np.ndarray:
    """fp32 [samples], 16 kHz mono."""
    return np.concatenate(list(decode(path.read_bytes(), _LIMITS, DecodeReport())))


def without_pauses(samples: np.ndarray) -> np.ndarray:
    """Only where somebody speaks: fp32 [samples], 16 kHz mono, to the same."""
    probabilities = speech_activity().probabilities(at_speech_level(samples))
    options = SpanOptions(min_silence_s=0.12, padding_s=0.04)
    spans = speech_spans(probabilities, len(samples) / SAMPLE_RATE_HZ, options)
    return np.concatenate(
        [samples[int(span.start_s * SAMPLE_RATE_HZ) : int(span.end_s * SAMPLE_RATE_HZ)] for span in spans]
    )


@dataclass(frozen=True)
class Recording:
    """One line of the manifest: a file, and what is said in it."""

    path: Path
    text: str
    language: str


def recordings(language: str) -> list[Recording]:
    """Those in a language, in the manifest's order; skips the test where they are not there."""
    manifest = SPEECH / "manifest.jsonl"
    if not manifest.exists():
        pytest.skip("recordings of people are not here: ../shared/data/speech lies beside the checkout in CI")
    lines = map(json.loads, manifest.read_text(encoding="utf-8").splitlines())
    found = [Recording(SPEECH / line["file"], line["text"], line["language"]) for line in lines]
    return [one for one in found if one.language == language]
