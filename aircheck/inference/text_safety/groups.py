"""Names of groups of people: what is said of one is read as if it were said of another, too.

Encoders have read more that is bad about some groups than about others. So a text that names a group is read a second
time with another in its place, and its score of hate is the higher one. A counterfactual, as in Garg et al.,
"Counterfactual Fairness in Text Classification through Robustness" (AIES 2019), but while the text is scored.

The stand-in, "foreigners", was chosen on HateCheck, of four, for the least difference between groups; in the other
languages it is the same word, chosen on nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from aircheck.inference.text_safety.errors import CheckpointError
from aircheck.shipped import MODEL_REPOSITORY
from aircheck.yaml_files import YamlFile, YamlFileError

FILE = MODEL_REPOSITORY / "text_safety" / "1" / "groups.yaml"


class Names(BaseModel):
    """Of one language; the file says what each field is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    others: str
    other: str = ""
    plural: tuple[str, ...]
    articles: tuple[str, ...] = ()
    singular: tuple[str, ...] = ()
    is_spaced: bool = True


def read(path: Path = FILE) -> dict[str, Names]:
    """By ISO 639-1 code. Raises CheckpointError."""
    try:
        return YamlFile.read(path).checked(dict[str, Names])
    except YamlFileError as error:
        raise CheckpointError(str(error)) from None


class Groups:
    """Puts a stand-in in the place of every group that a text names.

    Of names that stand at one place the longest counts, and of languages that share a name the first.
    """

    def __init__(self, names: dict[str, Names]) -> None:
        self._others: dict[str, str] = {}
        for one in reversed(names.values()):
            behind = [f"{article} {name}" for article in one.articles for name in one.singular] or one.singular
            self._others |= dict.fromkeys(one.plural, one.others) | dict.fromkeys(behind, one.other)
        unspaced = {name for one in names.values() if not one.is_spaced for name in one.plural}
        self._patterns = (
            re.compile(rf"\b(?:{_longest_first(self._others.keys() - unspaced)})\b"),
            re.compile(_longest_first(unspaced) or "(?!)"),
        )

    def of_others(self, text: str) -> str:
        """The normalised text as it would be about others; the same text where it names no group."""
        for pattern in self._patterns:
            text = pattern.sub(lambda name: self._others[name[0]], text)
        return text


def _longest_first(names: Iterable[str]) -> str:
    return "|".join(sorted(map(re.escape, names), key=len, reverse=True))
