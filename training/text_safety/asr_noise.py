"""Simulated recognition errors, learned from what a Whisper really misheard.

Aligning transcribed training lines with their text gives, for each word, what was heard in its place and how often.
Lines that were not transcribed are corrupted with those confusions; a word that was never misheard is dropped, loses
its ending, or becomes a word with the same consonants.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from difflib import SequenceMatcher

_SOUND = {letter: group[0] for group in ("bp", "dt", "fv", "gkcq", "szxj", "mn", "lr") for letter in group}
_ENDINGS = ("ing", "ed", "es", "s", "er", "ly", "t", "d", "n")

DROP, SIMILAR = 0.3, 0.5  # of the errors in words without confusions; the rest loses an ending
LEARNED = 0.75  # of the errors in words with confusions
PRIOR = 8.0  # occurrences' worth of belief that a word is misheard as often as any other
MOST_WORDS = 3  # longest stretch of words that is learned as the mishearing of one


def skeleton(word: str) -> str:
    """A word's consonants by place of articulation, vowels gone: "back", "pick" and "bag" share one."""
    sounds = [_SOUND[letter] for letter in word if letter in _SOUND]
    return "".join(sound for index, sound in enumerate(sounds) if index == 0 or sounds[index - 1] != sound)


@dataclass
class Confusions:
    """What was heard instead of a word (`heard`; "" is nothing), how often it was said, and how often wrongly."""

    heard: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    said: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)

    def learn(self, said: str, heard: str) -> None:
        """Takes in a line and its transcript, both normalised."""
        ours, theirs = said.split(), heard.split()
        self.said.update(ours)
        for kind, start, end, start_heard, end_heard in SequenceMatcher(a=ours, b=theirs, autojunk=False).get_opcodes():
            if kind == "equal":
                continue
            self.wrong.update(ours[start:end])
            stretch = theirs[start_heard:end_heard]
            if end - start == 1 and len(stretch) <= MOST_WORDS:
                self.heard[ours[start]][" ".join(stretch)] += 1
            elif end - start == len(stretch):
                for word, instead in zip(ours[start:end], stretch, strict=True):
                    self.heard[word][instead] += 1

    @property
    def rate(self) -> float:
        """Share of all words that were not heard as said."""
        return self.wrong.total() / max(1, self.said.total())

    def relative_rates(self) -> dict[str, float]:
        """How much more often each word is misheard than words are on average."""
        mean = self.rate or 1.0
        return {word: (self.wrong[word] + PRIOR * mean) / (said + PRIOR) / mean for word, said in self.said.items()}


class Recogniser:
    """Corrupts lines with learned confusions, and otherwise with words of `vocabulary`."""

    def __init__(self, vocabulary: Iterable[str], confusions: Confusions | None = None) -> None:
        self._heard = confusions.heard if confusions else {}
        self._relative_rates = confusions.relative_rates() if confusions else {}
        self._alike: dict[str, list[str]] = defaultdict(list)
        for word in sorted(set(vocabulary)):
            self._alike[skeleton(word)].append(word)

    def hear(self, text: str, rate: float, rng: random.Random) -> str:
        """`text` with about `rate` of its words wrong; never empty when `text` is not."""
        words = text.split()
        heard = [
            self._mishear(word, rng) if rng.random() < rate * self._relative_rates.get(word, 1.0) else word
            for word in words
        ]
        return " ".join(word for word in heard if word) or (words[0] if words else "")

    def _mishear(self, word: str, rng: random.Random) -> str:
        learned = self._heard.get(word)
        if learned and rng.random() < LEARNED:
            return rng.choices(list(learned), list(learned.values()))[0]
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
