"""Variants of this project's own lines: as they come misspelt or misheard, and in the midst of ordinary talk."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from training.text_safety.lines import Line

MISSPELT = 0.3
"""Share of the lines that are learned from once more with a spelling error. Not in scripts without spaces or case."""

AMID_TALK = 0.1
"""Share of the English lines that are learned from once more with plain talk before or after them."""

MAX_WORDS = 40
SPELT = ("en", "de", "es", "fr", "it", "nl", "pl", "pt")

# What a recogniser writes for another word that sounds alike.
_HOMOPHONES = {
    "your": "you're", "you're": "your", "there": "their", "their": "there", "they're": "their", "to": "too",
    "too": "to", "its": "it's", "it's": "its", "know": "no", "right": "write", "hear": "here", "here": "hear",
    "whole": "hole", "die": "dye", "wear": "where", "one": "won", "son": "sun", "would": "wood", "our": "are",
    "knew": "new", "buy": "by", "for": "four", "meet": "meat", "mail": "male", "made": "maid", "nose": "knows",
}  # fmt: skip
_LOOK_ALIKE = str.maketrans("aeiost", "431057")


def variants(lines: Sequence[Line]) -> list[Line]:
    """Further lines with the labels of those they are made from; the same on every run."""
    rng = random.Random("variants")
    plain = [line.text for line in lines if line.kind == "benign" and line.by_hand]
    made = []
    for line in lines:
        if line.language in SPELT and rng.random() < MISSPELT:
            made.append(replace(line, parts=(misspelt(line.text, rng),)))
        if line.language == "en" and rng.random() < AMID_TALK:
            made.append(replace(line, parts=(amid_talk(line.text, plain, rng),)))
    return [line for line in made if line.text]


def misspelt(text: str, rng: random.Random) -> str:
    """The text with one word changed: two letters swapped, one left out, spaced out, disguised, joined, or misheard."""
    words = text.split()
    heard = [index for index, word in enumerate(words) if word in _HOMOPHONES]
    if heard and rng.random() < 0.25:
        index = rng.choice(heard)
        return " ".join([*words[:index], _HOMOPHONES[words[index]], *words[index + 1 :]])
    index = rng.choice([index for index, word in enumerate(words) if len(word) > 3] or [0])
    word = words[index]
    at = rng.randrange(max(len(word) - 1, 1))
    kind = rng.randrange(5)
    if kind == 0:
        changed = word[:at] + word[at + 1 : at + 2] + word[at : at + 1] + word[at + 2 :]
    elif kind == 1:
        changed = word[:at] + word[at + 1 :]
    elif kind == 2:
        changed = " ".join(word)
    elif kind == 3:
        changed = word.translate(_LOOK_ALIKE)
    else:
        changed = "".join(words[index : index + 2])
        words[index : index + 2] = [word]
    return " ".join([*words[:index], changed, *words[index + 1 :]])


def amid_talk(text: str, plain: Sequence[str], rng: random.Random) -> str:
    """The text between plain lines, as in speech without punctuation; at most MAX_WORDS words, if it has fewer."""
    parts = [text]
    for other in rng.sample(plain, 3):
        if len(" ".join([*parts, other]).split()) <= MAX_WORDS:
            parts.insert(rng.choice((0, len(parts))), other)
    return " ".join(parts)
