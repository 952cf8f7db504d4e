"""What every text classifier offers to the `text_safety` model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from aircheck.inference.text_safety.passages import Passage
from aircheck.policy.taxonomy import Category


class TextClassifier(Protocol):
    """Gives passages a probability for each category; about 0.5 is worth a look, about 0.85 is confident."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    @property
    def categories(self) -> tuple[Category, ...]:
        """The columns of `score`, in order: always the whole taxonomy."""
        ...

    def score(self, passages: Sequence[Passage]) -> np.ndarray:
        """float32 scores in [0, 1], shape [len(passages), len(categories)]; a row never depends on its batch."""
        ...


CHUNK = 64
"""Most passages in one forward pass; bounds memory, whatever a batch brings."""


def by_length(texts: Sequence[str]) -> list[list[int]]:
    """Indices of `texts` in chunks of at most CHUNK, of similar length each, so that little is padding."""
    order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
    return [order[start : start + CHUNK] for start in range(0, len(order), CHUNK)]
