"""Word errors: the least number of words to substitute, insert or delete, after Whisper's own normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np


@cache
def _normaliser() -> object:
    from whisper.normalizers import EnglishTextNormalizer

    return EnglishTextNormalizer()


def normalised(text: str) -> list[str]:
    """Words as openai-whisper's EnglishTextNormalizer leaves them: spelling, numbers, contractions made alike."""
    normaliser = _normaliser()
    assert callable(normaliser)
    return str(normaliser(text)).split()


def word_errors(reference: Sequence[str], heard: Sequence[str]) -> int:
    """Levenshtein's distance between two sequences of words (Wagner & Fischer 1974), a row at a time."""
    if not reference or not heard:
        return max(len(reference), len(heard))
    known = {word: index for index, word in enumerate(dict.fromkeys([*reference, *heard]))}
    columns = np.array([known[word] for word in heard])
    steps = np.arange(len(heard) + 1)
    row = steps.copy()
    for index, word in enumerate(reference, start=1):
        ahead = np.empty_like(row)
        ahead[0] = index
        ahead[1:] = np.minimum(row[:-1] + (columns != known[word]), row[1:] + 1)
        row = np.minimum.accumulate(ahead - steps) + steps  # insertions: the best of all cells to the left
    return int(row[-1])
