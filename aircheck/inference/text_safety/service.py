"""From the transcripts of a batch of windows to findings: what the Triton model `text_safety` calls."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from pydantic import ValidationError

from aircheck.inference.text_safety.checkpoint import CheckpointTextClassifier
from aircheck.inference.text_safety.classifier import TextClassifier
from aircheck.inference.text_safety.embedded import EmbeddedTextClassifier
from aircheck.inference.text_safety.errors import LabelMapError, TranscriptError
from aircheck.inference.text_safety.labels import LabelMap
from aircheck.inference.text_safety.passages import sentence_passages
from aircheck.policy.taxonomy import Category
from aircheck_client.schema import Segment, SegmentScores, TextFindings, Transcript

MAX_SEGMENTS = 1000
"""Most segments of one window. Whisper's decoder writes at most 224 tokens into one, so this refuses only nonsense."""

MAX_JSON_BYTES = 1 << 20
"""Largest `TRANSCRIPT` value. Thirty seconds of speech need a few thousand bytes."""


def load(name: str, label_map: Path | None, device: torch.device) -> TextClassifier:
    """The classifier called `name`: "embedded", or a transformers checkpoint by folder or hub name.

    Raises CheckpointError when it cannot be loaded; LabelMapError when the label map is missing, unneeded, or does not
    fit.
    """
    if name == "embedded":
        if label_map is not None:
            raise LabelMapError(f"the embedded text classifier takes no label map ({label_map}); unset text_labels")
        return EmbeddedTextClassifier(device)
    if label_map is None:
        raise LabelMapError(
            f"text classifier '{name}' needs a label map from its labels to our categories; set text_labels to a file "
            "like server_config/labels/text_toxic_bert.yaml"
        )
    return CheckpointTextClassifier(name, LabelMap.read(label_map), device)


def parse_transcript(json: str | bytes) -> Transcript:
    """One `TRANSCRIPT` value. Raises TranscriptError that says what is wrong with it."""
    if len(json) > MAX_JSON_BYTES:
        raise TranscriptError(f"TRANSCRIPT has {len(json)} bytes; at most {MAX_JSON_BYTES} are read")
    try:
        transcript = Transcript.model_validate_json(json)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "value"
        raise TranscriptError(f"TRANSCRIPT is not the JSON of a transcript: {where}: {first['msg']}") from None
    if len(transcript.segments) > MAX_SEGMENTS:
        raise TranscriptError(f"TRANSCRIPT holds {len(transcript.segments)} segments; at most {MAX_SEGMENTS} are read")
    return transcript


def classify(classifier: TextClassifier, windows: Sequence[Sequence[Segment]]) -> list[TextFindings]:
    """Findings of each window, in order: a score per category for each of its segments, the highest of its sentences'.

    All windows' sentences go to the classifier together; a sentence's neighbours are those of its own window.
    """
    of_windows = [sentence_passages([segment.text for segment in window]) for window in windows]
    batch = [passage for window in of_windows for segment in window for passage in segment]
    rows = iter(classifier.score(batch)) if batch else iter(())
    return [
        TextFindings(
            model=classifier.name,
            model_version=classifier.version,
            languages=classifier.languages,
            segments=tuple(
                _scores(classifier, segment, np.max([next(rows) for _ in own], axis=0))
                for segment, own in zip(window, of_window, strict=True)
            ),
        )
        for window, of_window in zip(windows, of_windows, strict=True)
    ]


def _scores(classifier: TextClassifier, segment: Segment, row: np.ndarray) -> SegmentScores:
    named = zip(classifier.categories, row, strict=True)
    return SegmentScores(segment=segment, scores={category.value: float(value) for category, value in named})


def window_scores(findings: TextFindings) -> np.ndarray:
    """The highest score of each category over a window's segments, float32 [categories]; zeros when it has none."""
    scores = np.zeros(len(Category), dtype=np.float32)
    for item in findings.segments:
        scores = np.maximum(scores, np.array([item.scores[category] for category in Category], dtype=np.float32))
    return scores
