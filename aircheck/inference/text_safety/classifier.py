"""What every text classifier offers to the `text_safety` model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from aircheck.policy.taxonomy import Category


class TextClassifier(Protocol):
    """Gives texts a probability for each category; about 0.5 is worth a look, about 0.85 is confident."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    @property
    def languages(self) -> tuple[str, ...]:
        """ISO 639-1 codes of the languages that it covers; empty for any."""
        ...

    @property
    def categories(self) -> tuple[Category, ...]:
        """The columns of `score`, in order: always the whole taxonomy."""
        ...

    @property
    def scores_profanity(self) -> bool:
        """Whether it has a say about profanity in languages that a list of swear words covers; else the list alone."""
        ...

    def score(self, texts: Sequence[str]) -> np.ndarray:
        """float32 scores in [0, 1], shape [len(texts), len(categories)]; a row never depends on its batch."""
        ...


CHUNK = 64
"""Most texts in one forward pass; bounds memory, whatever a batch brings."""

PAD_TO = 16
"""Tokens: texts are padded to a multiple of this."""


def of_equal_length(tokens: Mapping[str, Any], max_tokens: int) -> list[tuple[int, list[int]]]:
    """Chunks of at most CHUNK texts whose padded length is the same: that length in tokens, and the texts' indices.

    A text's padded length is its own multiple of PAD_TO, never its neighbours': sums over more padding are taken in
    another order, which in bf16 moves a score by 0.002. So a text's score does not depend on what shares its batch.

    tokens : what a transformers tokenizer returns without padding
    """
    by_length: dict[int, list[int]] = {}
    for index, ids in enumerate(tokens["input_ids"]):
        by_length.setdefault(min(max_tokens, -(-len(ids) // PAD_TO) * PAD_TO), []).append(index)
    return [
        (length, indices[first : first + CHUNK])
        for length, indices in sorted(by_length.items())
        for first in range(0, len(indices), CHUNK)
    ]


def padded(tokenizer: Any, tokens: Mapping[str, Any], indices: Sequence[int], length: int) -> Any:
    """The tokens of some texts as tensors of `length` tokens each, as the model takes them."""
    chosen = {name: [values[index] for index in indices] for name, values in tokens.items()}
    return tokenizer.pad(chosen, padding="max_length", max_length=length, return_tensors="pt")
