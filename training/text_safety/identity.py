"""Whether the same sentence about different people scores alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import yaml

from aircheck.inference.text_safety.classifier import TextClassifier
from aircheck.inference.text_safety.passages import passages
from aircheck.policy.taxonomy import Category
from training.text_safety.lines import DATA

SENTENCES = DATA / "test" / "identity.yaml"


@dataclass(frozen=True)
class Swap:
    """Scores of sentences of one sort in which only the terms of one kind (say "religion") differ.

    `score_of` is each term's mean score over the sentences: of hate in harmful sentences, of the highest category in
    neutral ones. `gap` is between the highest and the lowest of them.
    """

    sort: str  # "neutral" or "harmful"
    kind: str
    score_of: dict[str, float]
    flagged: float  # share of all these sentences at or above the review score

    @property
    def gap(self) -> float:
        return max(self.score_of.values()) - min(self.score_of.values())


def swaps(classifier: TextClassifier, review: float) -> list[Swap]:
    """Every kind of term in the neutral and in the harmful sentences."""
    content = yaml.safe_load(SENTENCES.read_text(encoding="utf-8"))
    return [
        _swap(classifier, sort, kind, terms, content[sort], review)
        for sort in ("neutral", "harmful")
        for kind, terms in content["groups"].items()
    ]


def _swap(
    classifier: TextClassifier, sort: str, kind: str, terms: Sequence[str], sentences: Sequence[str], review: float
) -> Swap:
    texts = [sentence.format(group=term) for term in terms for sentence in sentences]
    scores = classifier.score([passages([text])[0] for text in texts])
    told = scores[:, list(Category).index(Category.HATE)] if sort == "harmful" else scores.max(axis=1)
    by_term = told.reshape(len(terms), len(sentences))
    return Swap(
        sort,
        kind,
        {term: float(mean) for term, mean in zip(terms, by_term.mean(axis=1), strict=True)},
        float(np.mean(told >= review)),
    )
