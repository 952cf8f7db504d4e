"""Swear words by graded lists, one for each language (server_config/profanity): what decides `profanity`.

A word list beats a classifier here: whether a word is a swear word does not depend on what is meant by it, and a list
says which word it was, how strong it is, and can be edited. Whole words count, in the form in which people write and
recognisers transcribe them:

* written out, with its endings: every form stands in the list
* masked: `f***`, `sh*t`, `f--k`; each mark is a letter, and a listed word must fit
* with digits and signs for letters: `a$$`, `sh1t`
* spelt: `s h i t`, `F.U.C.K.`
* stretched: `shiiit`

Mild words are found only where they are written out.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from aircheck.inference.text_safety.errors import ProfanityListError
from aircheck.yaml_files import YamlFile, YamlFileError
from aircheck_client.schema import ModelVersion

_APOSTROPHES = str.maketrans({"’": "'", "‘": "'", "ʼ": "'"})
_MASKS = "*#•"
_TOKEN = re.compile(
    rf"[^\W\d_](?:[\w'{re.escape(_MASKS)}@$!-]*(?:[\w{re.escape(_MASKS)}$]|--))?"  # begins with a letter
    r"|\d[\w@$]*[^\W\d_][\w@$]*|[@$][\w@$]+"  # or with a digit or sign in its place
)
_LEET = str.maketrans({"0": "o", "1": "i", "3": "e", "4": "a", "5": "s", "7": "t", "@": "a", "$": "s", "!": "i"})
_SPELT = re.compile(r"(?<!\w)[^\W\d_](?:[\s.\-]{1,2}[^\W\d_](?!\w)){3,}")
_STRETCHED = re.compile(r"(.)\1{2,}")
_GROUP = re.compile(r"\(([^()]*)\)(\??)")
_MIN_SPELT = 4  # letters: shorter ones are abbreviations
_MIN_HYPHENS = 4  # letters of a word in which a single hyphen may hide one: `sh-t`, and not `e-mail`


class _File(BaseModel):
    """A list as its file spells it; an entry is `stem`, `stem(s|ed)?`, `(bull|horse)shit`, a phrase, or `stem*`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    strong: tuple[Annotated[str, Field(min_length=2)], ...]
    moderate: tuple[Annotated[str, Field(min_length=2)], ...]
    mild: tuple[Annotated[str, Field(min_length=2)], ...]
    lower_case_only: tuple[str, ...] = ()  # names too: with a capital they do not count
    harmless: tuple[str, ...] = ()  # phrases whose words do not count


@dataclass(frozen=True)
class SwearWord:
    """A word as it stands in the text, and how strong it is: 1 mild, 2 moderate, 3 strong."""

    text: str
    severity: int

    @property
    def score(self) -> float:
        """What `profanity` scores for it; the shipped packs begin at 0.4 and 0.5, so a mild word makes no finding."""
        return (0.3, 0.6, 0.9)[self.severity - 1]

    def __str__(self) -> str:
        return f"{self.masked} ({('mild', 'moderate', 'strong')[self.severity - 1]})"

    @property
    def masked(self) -> str:
        """`f***`: the first letter of each word, and as many asterisks as letters follow."""
        words = [re.sub(r"\W", "", self.text)] if _SPELT.fullmatch(self.text) else self.text.split()
        return " ".join(word[0] + "*" * (len(word) - 1) for word in words)


class WordList:
    """The swear words of one language."""

    def __init__(self, file: _File) -> None:
        """Raises ValueError for a word that stands under two severities, and for an entry that cannot be read."""
        self._words: dict[tuple[str, ...], int] = {}
        self._stems: dict[str, int] = {}
        for severity, entries in ((3, file.strong), (2, file.moderate), (1, file.mild)):
            for form in (form for entry in entries for form in _forms(entry)):
                self._add(form, severity)
        self._longest = max(map(len, self._words), default=1)
        self._lower_case_only = frozenset(_folded(word) for word in file.lower_case_only)
        self._harmless = frozenset(tuple(_folded(form).split()) for entry in file.harmless for form in _forms(entry))
        # what a mask may hide: mild words are not worth a guess
        self._hidden = self._stems | {
            words[0]: severity for words, severity in self._words.items() if len(words) == 1 < severity
        }

    def _add(self, form: str, severity: int) -> None:
        stem = form.endswith("*")
        words = tuple(_folded(form.removesuffix("*")).split())
        if not words or (stem and len(words) > 1):
            raise ValueError(f"{form!r}: `*` stands for the ending of a single word")
        known = self._stems.setdefault(words[0], severity) if stem else self._words.setdefault(words, severity)
        if known != severity:
            raise ValueError(f"{form!r} stands under two severities; keep one")

    def find(self, text: str) -> SwearWord | None:
        """The strongest swear word of the text, the first of several; None where there is none."""
        return max(self._all(text), key=lambda word: word.severity, default=None)

    def _all(self, text: str) -> Iterator[SwearWord]:
        text = unicodedata.normalize("NFKC", text).translate(_APOSTROPHES)
        tokens = [match[0] for match in _TOKEN.finditer(text)]
        words = [_folded(token).removesuffix("'s") for token in tokens]
        harmless = set(self._places(words, self._harmless))
        for at, token in enumerate(tokens):
            if at in harmless:
                continue
            for length in range(min(self._longest, len(tokens) - at), 0, -1):
                severity = self._severity(tuple(words[at : at + length]), token)
                if severity:
                    yield SwearWord(" ".join(tokens[at : at + length]), severity)
                    break
        for match in _SPELT.finditer(text.lower()):
            if severity := self._spelt(re.sub(r"[\W_]", "", match[0])):
                yield SwearWord(match[0], severity)

    def _places(self, words: list[str], phrases: frozenset[tuple[str, ...]]) -> Iterator[int]:
        longest = max(map(len, phrases), default=0)
        for at, word in enumerate(words):
            if tuple(word.split("-")) in phrases:
                yield at
            for length in range(1, longest + 1):
                if tuple(words[at : at + length]) in phrases:
                    yield from range(at, at + length)

    def _severity(self, words: tuple[str, ...], token: str) -> int:
        if len(words) > 1:
            return self._words.get(words, 0)
        word = words[0]
        if word in self._lower_case_only and token[0].isupper() and not token.isupper():
            return 0
        return self._plain(word) or self._parts(word) or self._disguised(word)

    def _plain(self, word: str) -> int:
        return max(
            self._words.get((word,), 0), *(level for stem, level in self._stems.items() if word.startswith(stem)), 0
        )

    def _parts(self, word: str) -> int:
        """Of words joined by hyphens or apostrophes, each by itself; of those joined by hyphens, also together."""
        if not re.search("['-]", word):
            return 0
        parts = re.split("['-]+", word)
        found = [self._plain(part) for part in parts if len(part) > 1]
        return max(self._words.get(tuple(parts), 0), self._plain(word.replace("-", "")), *found, 0)

    def _disguised(self, word: str) -> int:
        """Of a word that is stretched, masked, or written with digits and signs."""
        guesses = {_STRETCHED.sub(r"\1", word), _STRETCHED.sub(r"\1\1", word)}
        if re.search(r"[\d@$!]", word):
            guesses.add(word.translate(_LEET))
        found = [severity for guess in guesses - {word} if (severity := self._plain(guess)) > 1]
        return max([*found, self._masked(word)])

    def _masked(self, word: str) -> int:
        masked = re.sub(f"[{re.escape(_MASKS)}]|-(?=-)|(?<=-)-", "*", word)
        if re.search(r"\w\w-+$|^\w--?$|[^\W\d_]{2}\*$", word):  # a dash, or the mark of a footnote
            return 0
        by_hyphen = "*" not in masked and len(masked) >= _MIN_HYPHENS
        if by_hyphen:
            masked = masked.replace("-", "*")
        marks = masked.count("*")
        letters = sum(character.isalpha() for character in masked)
        if not marks or letters + marks != len(masked) or (letters < 2 and marks < 2) or len(masked) < 3:
            return 0
        exact = [severity for form, severity in self._hidden.items() if _fits(masked, form)]
        exact += [severity for stem, severity in self._stems.items() if _fits(masked[: len(stem)], stem)]
        if exact or by_hyphen or letters < 2:
            return max(exact, default=0)
        pattern = re.compile(re.sub(r"\*+", r"\\w{1,6}", re.escape(masked).replace(r"\*", "*")))
        return max((severity for form, severity in self._hidden.items() if pattern.fullmatch(form)), default=0)

    def _spelt(self, letters: str) -> int:
        long_enough = [form for form in self._hidden if len(form) >= _MIN_SPELT and form in letters]
        return max((self._hidden[form] for form in long_enough), default=0)


class Profanity:
    """The word lists of a folder, by language."""

    def __init__(self, folder: Path) -> None:
        """Reads `<language>.yaml` of each language. Raises ProfanityListError that names the file and the fault."""
        files = sorted(folder.glob("*.yaml"))
        if not files:
            raise ProfanityListError(f"{folder}: holds no word list; point profanity_dir at a folder with en.yaml")
        self._lists = {path.stem: _read(path) for path in files}
        digest = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
        self.model = ModelVersion(role="profanity", name="swear-words", version=digest[:12])

    @property
    def languages(self) -> tuple[str, ...]:
        return tuple(self._lists)

    def find(self, text: str, language: str) -> SwearWord | None:
        """The strongest swear word of a text in `language`; None where there is none, or no list for it."""
        words = self._lists.get(language)
        return words.find(text) if words else None


def _read(path: Path) -> WordList:
    try:
        file = YamlFile.read(path).checked(_File)
    except YamlFileError as error:
        raise ProfanityListError(f"word list {error}") from None
    try:
        return WordList(file)
    except ValueError as error:
        raise ProfanityListError(f"word list {path}: {error}") from None


def _forms(entry: str) -> list[str]:
    """`(bull|horse)shit(s|ty)?` to its six forms."""
    parts = []
    at = 0
    for group in _GROUP.finditer(entry):
        parts += [[entry[at : group.start()]], [*(["", *group[1].split("|")] if group[2] else group[1].split("|"))]]
        at = group.end()
    parts.append([entry[at:]])
    forms = ["".join(form) for form in product(*parts)]
    if any(re.search(r"[()|?]", form) for form in forms):
        raise ValueError(f"{entry!r}: write endings as (s|ed)?, and what must stand there as (bull|horse)")
    return forms


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).translate(_APOSTROPHES).casefold()


def _fits(masked: str, form: str) -> bool:
    return len(masked) == len(form) and all(mark in ("*", letter) for mark, letter in zip(masked, form, strict=True))
