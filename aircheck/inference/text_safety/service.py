"""From the transcripts of a batch of windows to findings: what the Triton model `text_safety` calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from pydantic import ValidationError
from scipy.special import expit, logit

from aircheck.inference.text_safety.classifier import TextClassifier
from aircheck.inference.text_safety.embedded import EmbeddedTextClassifier
from aircheck.inference.text_safety.errors import LabelMapError, TranscriptError
from aircheck.inference.text_safety.guard_card import GuardCard
from aircheck.inference.text_safety.labels import LabelMap
from aircheck.inference.text_safety.passage import combined, combined_after, readings
from aircheck.inference.text_safety.profanity import Profanity
from aircheck.inference.text_safety.sentences import Sentence, sentences
from aircheck.policy.taxonomy import Category
from aircheck.yaml_files import YamlFile, YamlFileError
from aircheck_client.schema import Attribution, Segment, SentenceScores, TextFindings, Transcript

MAX_SEGMENTS = 1000
"""Most segments of one window. Whisper's decoder writes at most 224 tokens into one, so this refuses only nonsense."""

MAX_JSON_BYTES = 1 << 20
"""Largest `TRANSCRIPT` value. Thirty seconds of speech need a few thousand bytes."""


MIN_SCORE = 1e-9
"""Scores below it, and as close to 1, count as it, so that their logits are finite."""


def load(name: str, label_map: Path | None, device: torch.device) -> TextClassifier:
    """The classifier called `name`: "embedded", or a transformers checkpoint by folder or hub name.

    What `label_map` is says how it is read: a label map, of a sequence classifier; a guard card, of a causal LM.

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
            "like server_config/labels/text_toxic_bert.yaml or, for a guard model, guard_qwen3guard.yaml"
        )
    # imported here, since transformers takes seconds to import, and the embedded classifier needs none of it
    from aircheck.inference.text_safety.checkpoint import CheckpointTextClassifier
    from aircheck.inference.text_safety.guard import GuardTextClassifier

    card = read_card(label_map)
    if isinstance(card, GuardCard):
        return GuardTextClassifier(name, card, device)
    return CheckpointTextClassifier(name, card, device)


def read_card(path: Path) -> LabelMap | GuardCard:
    """What a file for `text_labels` holds: with `kind: guard` a guard card, else a label map. Raises LabelMapError."""
    try:
        file = YamlFile.read(path)
    except YamlFileError as error:
        raise LabelMapError(str(error)) from None
    is_guard = isinstance(file.content, dict) and file.content.get("kind") == "guard"
    return GuardCard.of(file) if is_guard else LabelMap.of(file)


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


def classify(
    classifier: TextClassifier,
    windows: Sequence[Sequence[Segment]],
    profanity: Profanity | None = None,
    before: Sequence[str] = (),
) -> list[TextFindings]:
    """Findings of each window, in order: a score per category for each of its sentences.

    A sentence is scored by all its readings (passage.py); all windows' texts go to the classifier together. Profanity
    is found by the lists of swear words, where one covers the sentence's language; a classifier that scores it too can
    only raise that score.

    Args:
        before: of each window, the sentence that was said before it, which is read with it and not scored again; empty
            for none.
    """
    passages = [
        _Passage(sentences(window), said) for window, said in zip(windows, before or [""] * len(windows), strict=True)
    ]
    texts = list(dict.fromkeys(text for passage in passages for text in passage.readings()))
    logits = dict(zip(texts, _logits(classifier.score(texts)), strict=True))
    found = []
    for passage in passages:
        found.append(
            TextFindings(
                model=classifier.name,
                model_version=classifier.version,
                languages=classifier.languages,
                sentences=tuple(
                    map(partial(_scores, classifier, profanity), passage.sentences, passage.scores(logits))
                ),
                word_lists=profanity.model if profanity else None,
            )
        )
    return found


@dataclass(frozen=True)
class _Passage:
    """A window's sentences, and the one before them, perhaps empty."""

    sentences: Sequence[Sentence]
    before: str

    def readings(self) -> list[str]:
        """Every text that is classified for it."""
        texts = [item.text for item in self.sentences]
        return readings([self.before, *texts] if self.before and texts else texts)

    def scores(self, logits: Mapping[str, np.ndarray]) -> Sequence[np.ndarray]:
        """Of each sentence, [categories]."""
        texts = [item.text for item in self.sentences]
        if not texts:
            return ()
        found: np.ndarray = expit(
            combined_after(self.before, texts, logits) if self.before else combined(texts, logits)
        )
        return list(found)


def _logits(scores: np.ndarray) -> np.ndarray:
    # in float64, so that a score comes back the same
    logits: np.ndarray = logit(np.clip(scores.astype(np.float64), MIN_SCORE, 1 - MIN_SCORE))
    return logits


def _scores(
    classifier: TextClassifier, profanity: Profanity | None, sentence: Sentence, row: np.ndarray
) -> SentenceScores:
    scores = {category.value: float(value) for category, value in zip(classifier.categories, row, strict=True)}
    attributions = {}
    language = sentence.segments[0].language
    if profanity and language in profanity.languages:
        word = profanity.find(sentence.text, language)
        listed = word.score if word else 0.0
        if word and (listed >= scores[Category.PROFANITY] or not classifier.scores_profanity):
            attributions[Category.PROFANITY.value] = Attribution(
                model=profanity.model.name, model_version=profanity.model.version, note=f"swear word {word}"
            )
        scores[Category.PROFANITY] = max(listed, scores[Category.PROFANITY] if classifier.scores_profanity else 0.0)
    return SentenceScores(
        text=sentence.text,
        start_s=sentence.start_s,
        end_s=sentence.end_s,
        segments=tuple(segment.model_copy(update={"words": ()}) for segment in sentence.segments),
        scores=scores,
        attributions=attributions,
    )


def window_scores(findings: TextFindings) -> np.ndarray:
    """The highest score of each category over a window's sentences, float32 [categories]; zeros when it has none."""
    scores = np.zeros(len(Category), dtype=np.float32)
    for item in findings.sentences:
        scores = np.maximum(scores, np.array([item.scores[category] for category in Category], dtype=np.float32))
    return scores
