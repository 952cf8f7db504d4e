"""Word errors of transcripts.

Texts are normalised as OpenAI normalised them for Whisper's published figures (`whisper.normalizers`). Japanese, Korean
and Chinese are counted in characters, other languages in words.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, astuple, dataclass
from functools import cache
from operator import add

import jiwer
from whisper.normalizers import BasicTextNormalizer, EnglishTextNormalizer

IN_CHARACTERS = frozenset({"ja", "ko", "zh"})


@dataclass(frozen=True)
class Errors:
    """Edits that turn a reference into a transcript. `units`: words or characters of the reference."""

    substitutions: int
    deletions: int
    insertions: int
    units: int

    @property
    def total(self) -> int:
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        return self.total / max(1, self.units)

    def __add__(self, other: Errors) -> Errors:
        return Errors(*map(add, astuple(self), astuple(other)))

    def as_dict(self) -> dict[str, float]:
        return {"rate": round(self.rate, 5), **asdict(self)}


NO_ERRORS = Errors(0, 0, 0, 0)


@cache
def _normaliser(language: str) -> Callable[[str], str]:
    if language == "en":
        return EnglishTextNormalizer()
    return BasicTextNormalizer(split_letters=language in IN_CHARACTERS)


def words(text: str, language: str) -> list[str]:
    """The words, or characters, that count."""
    return _normaliser(language)(text).split()


def errors(reference: str, transcript: str, language: str) -> Errors:
    """The least edits between the two texts, normalised."""
    true, found = words(reference, language), words(transcript, language)
    if not true:  # which jiwer refuses
        return Errors(0, 0, len(found), 0)
    counts = jiwer.process_words(" ".join(true), " ".join(found))
    return Errors(counts.substitutions, counts.deletions, counts.insertions, len(true))
