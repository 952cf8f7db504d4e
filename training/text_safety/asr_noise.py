"""Simulated recognition errors: what a weak speech recogniser makes of a line.

Words are dropped, replaced by a word of a similar consonant skeleton, or lose their ending. A stand-in for real
transcripts of the embedded Whisper (word error rate about 10 to 25 %), not a model of them.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable

_SOUND = {letter: group[0] for group in ("bp", "dt", "fv", "gkcq", "szxj", "mn", "lr") for letter in group}
_ENDINGS = ("ing", "ed", "es", "s", "er", "ly", "t", "d", "n")

DROP, SIMILAR = 0.3, 0.5  # of all errors; the rest loses an ending


def skeleton(word: str) -> str:
    """A word's consonants by place of articulation, vowels gone: "back", "pick" and "bag" share one."""
    sounds = [_SOUND[letter] for letter in word if letter in _SOUND]
    return "".join(sound for index, sound in enumerate(sounds) if index == 0 or sounds[index - 1] != sound)


class Recogniser:
    """Corrupts lines with words of `vocabulary`."""

    def __init__(self, vocabulary: Iterable[str]) -> None:
        self._alike: dict[str, list[str]] = defaultdict(list)
        for word in sorted(set(vocabulary)):
            self._alike[skeleton(word)].append(word)

    def hear(self, text: str, rate: float, rng: random.Random) -> str:
        """`text` with about `rate` of its words wrong; never empty when `text` is not."""
        words = text.split()
        heard = [self._mishear(word, rng) if rng.random() < rate else word for word in words]
        return " ".join(word for word in heard if word) or (words[0] if words else "")

    def _mishear(self, word: str, rng: random.Random) -> str:
        kind = rng.random()
        if kind < DROP:
            return ""
        alike = [other for other in self._alike[skeleton(word)] if other != word]
        if kind < DROP + SIMILAR and alike:
            return rng.choice(alike)
        for ending in _ENDINGS:
            if word.endswith(ending) and len(word) > len(ending) + 2:
                return word[: -len(ending)]
        return rng.choice(alike) if alike else ""
