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

_FEWEST_CHARACTERS = 20  # shorter texts are not told apart: a pass of its own would cost more than their padding


def by_length(texts: Sequence[str]) -> list[list[int]]:
    """Indices of `texts` in chunks of at most CHUNK, of similar length each, so that little is padding."""
    chunks: list[list[int]] = []
    longest = 0  # characters that the chunk being filled has room for
    for index in sorted(range(len(texts)), key=lambda index: len(texts[index])):
        if not chunks or len(chunks[-1]) == CHUNK or len(texts[index]) > longest:
            chunks.append([])
            longest = _FEWEST_CHARACTERS + len(texts[index]) * 3 // 2
        chunks[-1].append(index)
    return chunks
