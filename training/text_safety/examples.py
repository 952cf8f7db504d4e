"""Puts lines among neighbours, as segments of a transcript, and says what the classifier must answer for each.

What a segment must score:

* its own harm, whoever stands beside it;
* nothing for a neighbour's harm: the finding belongs where the words are;
* the harm of a passage that is cut in two, on both halves: neither is harmful alone, and both belong in the evidence;
* nothing when the neighbour excuses it («the villain says | i will kill you»), because the two are one passage.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aircheck.inference.text_safety.passages import Passage, passages
from aircheck.policy.taxonomy import Category
from training.text_safety.asr_noise import Recogniser
from training.text_safety.lines import Line

# A harmful line is labelled with the categories its writer named. It may well be of these too, so nothing is taught
# about them: neither yes nor no.
RELATED: dict[Category, tuple[Category, ...]] = {
    Category.HATE: (Category.HARASSMENT, Category.VIOLENT_EXTREMISM, Category.VIOLENCE_THREAT),
    Category.HARASSMENT: (Category.HATE, Category.VIOLENCE_THREAT, Category.SELF_HARM, Category.PRIVACY_DOXXING),
    Category.VIOLENCE_THREAT: (Category.VIOLENT_EXTREMISM, Category.HARASSMENT),
    Category.VIOLENT_EXTREMISM: (Category.HATE, Category.VIOLENCE_THREAT),
    Category.SELF_HARM: (Category.HARASSMENT,),
    Category.SEXUAL: (),
    Category.CHILD_SAFETY: (Category.PRIVACY_DOXXING,),
    Category.ILLEGAL_GOODS: (),
    Category.DANGEROUS_MISINFORMATION: (),
    Category.PRIVACY_DOXXING: (Category.HARASSMENT, Category.VIOLENCE_THREAT),
    Category.PROFANITY: (Category.HARASSMENT,),
}

VIEWS_BY_HAND = 2  # times that a line written by hand is shown, each time among other neighbours; others once
CUT = {"harmful": 0.4, "hard_negative": 0.3, "benign": 0.1}  # share of lines that are also shown cut in two
SHORTEST_HALF = 3  # words
NEIGHBOURS = {"none": 0.45, "benign": 0.35, "hard_negative": 0.08, "harmful": 0.12}
HEARD_BADLY = 0.5  # share of segments with simulated recognition errors
MOST_ERRORS = 0.35  # of words, in such a segment


@dataclass(frozen=True)
class Example:
    """A passage, the categories it must score, and those about which nothing is said. `line` is where it came from."""

    passage: Passage
    labels: frozenset[Category]
    unsaid: frozenset[Category]
    line: Line
    half: bool


def unsaid(labels: frozenset[Category]) -> frozenset[Category]:
    return frozenset(other for label in labels for other in RELATED[label]) - labels


class Stage:
    """Places lines in windows. `direct` are fillers with a {core}; `heard` are lines as a Whisper wrote
    them down, by their text; `rng` alone decides every draw."""

    def __init__(
        self,
        lines: Sequence[Line],
        recogniser: Recogniser,
        direct: Sequence[str],
        heard: Mapping[str, Line],
        rng: random.Random,
    ) -> None:
        self._pools = {kind: [line for line in lines if line.kind == kind] for kind in CUT}
        self._recogniser = recogniser
        self._direct = direct
        self._heard = heard
        self._rng = rng

    def examples(self, lines: Sequence[Line]) -> list[Example]:
        """Each line whole among neighbours, sometimes cut in two, and as it was really heard if it was transcribed."""
        made = []
        for line in lines:
            for _ in range(VIEWS_BY_HAND if line.by_hand else 1):
                made += self._placed(line, self._misheard(self._with_filler(line)))
            words = line.text.split()
            if len(words) >= 2 * SHORTEST_HALF and self._rng.random() < CUT[line.kind]:
                at = self._rng.randint(SHORTEST_HALF, len(words) - SHORTEST_HALF)
                made += self._placed(line, self._misheard((" ".join(words[:at]), " ".join(words[at:]))))
            if (heard := self._heard.get(line.text)) is not None and heard.parts:
                made += self._placed(line, heard.parts)
        return made

    def _with_filler(self, line: Line) -> tuple[str, ...]:
        if len(line.parts) > 1 or self._rng.random() < 0.6:
            return line.parts
        return (self._rng.choice(self._direct).format(core=line.text),)

    def _misheard(self, parts: Sequence[str]) -> tuple[str, ...]:
        rate = self._rng.uniform(0.0, MOST_ERRORS) if self._rng.random() < HEARD_BADLY else 0.0
        return tuple(self._recogniser.hear(text, rate, self._rng) for text in parts)

    def _placed(self, line: Line, parts: tuple[str, ...]) -> list[Example]:
        before, after = self._misheard(self._neighbour()), self._misheard(self._neighbour())
        mine = passages([*before, *parts, *after])[len(before) : len(before) + len(parts)]
        return [Example(passage, line.labels, unsaid(line.labels), line, len(parts) > 1) for passage in mine]

    def _neighbour(self) -> tuple[str, ...]:
        kind = self._rng.choices(list(NEIGHBOURS), list(NEIGHBOURS.values()))[0]
        if kind == "none":
            return ()
        return (self._rng.choice(self._pools[kind]).text,)
