"""Errors of a transcript."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def word_errors(reference: Sequence[str], heard: Sequence[str]) -> int:
    """The least number of words to substitute, insert or delete: Levenshtein's distance (Wagner & Fischer 1974).

    A row at a time in numpy: `torchaudio.functional.edit_distance` goes cell by cell in Python, too slow for episodes.
    """
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
