"""What the embedded quality set says: the YAML files under `data/`, and the held-out lines of the text head.

`data/README.md` says how a policy person reads and extends the files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from aircheck import yaml_files
from aircheck.policy.taxonomy import Category
from training.acoustic_safety.sounds import SOUNDS
from training.text_safety.lines import read_test

DATA = Path(__file__).parent / "data"

Genre = Literal["interview", "news", "audiobook", "sport", "cooking", "true crime", "history", "comedy", "medicine"]
GENRES: tuple[Genre, ...] = (
    "interview", "news", "audiobook", "sport", "cooking", "true crime", "history", "comedy", "medicine",
)  # fmt: skip
PLAIN_LINES = 4  # of a genre, at least: what the longest clips need around a line
Kind = Literal["harmful", "hard negative", "plain"]
_ID_PREFIXES = {"harmful": "harmful", "hard negative": "look-alike"}  # ids seed the noise of the committed clips
Words = Annotated[str, Field(pattern=r"^[^0-9|]+$")]  # digits have no one spelling to compare a transcript with


class TextsError(ValueError):
    """A text file is not as data/README.md says; the message names the file and the entry."""


@dataclass(frozen=True)
class Line:
    """Something to say in one breath or, split over two segments, in two."""

    id: str
    parts: tuple[str, ...]
    kind: Kind
    categories: tuple[Category, ...] = ()  # what is unsafe about it
    genre: Genre | None = None  # None: a held-out line of the text head
    number: int = 0  # its place among its like; decides who speaks it

    @property
    def text(self) -> str:
        return " ".join(self.parts)


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _CategoryLines(_Strict):
    harmful: dict[Genre, Words]
    hard_negative: dict[Genre, Words]


class Sentence(_Strict):
    """A fixed sentence with the slot {group}."""

    text: Annotated[str, Field(pattern=r"^[^0-9|{}]*\{group\}[^0-9|{}]*$")]
    labels: tuple[Category, ...] = ()

    def about(self, group: str) -> str:
        text = self.text.format(group=group)
        return text[0].upper() + text[1:]


class Identity(_Strict):
    """Sentences that are said about one group after another."""

    groups: dict[str, tuple[str, ...]]
    sentences: dict[str, Sentence]

    def terms(self, each: int | None = None) -> list[str]:
        """All groups, or the first few of each kind."""
        return [term for terms in self.groups.values() for term in terms[:each]]


class Turn(_Strict):
    """One entry of a script: words of a speaker, or a sound."""

    host: Words | None = None
    guest: Words | None = None
    sound: str | None = None
    labels: tuple[Category, ...] = ()

    @model_validator(mode="after")
    def _one_thing(self) -> Turn:
        if sum(value is not None for value in (self.host, self.guest, self.sound)) != 1:
            raise ValueError("give exactly one of host, guest and sound")
        if self.sound is not None and self.sound not in SOUNDS:
            raise ValueError(f"no sound {self.sound!r}; there are {', '.join(sorted(SOUNDS))}")
        return self


class Script(_Strict):
    """An episode of about a minute."""

    genre: Genre
    lines: tuple[Turn, ...]


@dataclass(frozen=True)
class Texts:
    """Everything that the set may say."""

    harmful: tuple[Line, ...]  # by category, then genre
    hard_negatives: tuple[Line, ...]
    plain: tuple[Line, ...]  # by genre
    identity: Identity
    episodes: Mapping[str, Script]


def read_texts(data: Path = DATA) -> Texts:
    """Reads the bench's own texts. Raises TextsError."""
    lines = _parse(data / "lines.yaml", dict[Category, _CategoryLines])
    plain = _parse(data / "plain.yaml", dict[Genre, tuple[Words, ...]])
    missing = [f"{category} has no lines" for category in Category if category not in lines]
    missing += [
        f"{category}, {kind}: no line for the genre {genre!r}"
        for category, kinds in lines.items()
        for kind in ("harmful", "hard_negative")
        for genre in GENRES
        if genre not in getattr(kinds, kind)
    ]
    if missing:
        raise TextsError(f"{data / 'lines.yaml'}: {'; '.join(missing)}")
    if bare := [genre for genre in GENRES if len(plain.get(genre, ())) < PLAIN_LINES]:
        raise TextsError(f"{data / 'plain.yaml'}: fewer than {PLAIN_LINES} lines for {', '.join(bare)}")
    return Texts(
        harmful=tuple(_own("harmful", lines)),
        hard_negatives=tuple(_own("hard negative", lines)),
        plain=tuple(
            Line(f"plain-{slug(genre)}-{at + 1}", (text,), "plain", (), genre, GENRES.index(genre) + at)
            for genre in GENRES
            for at, text in enumerate(plain[genre])
        ),
        identity=_parse(data / "identity.yaml", Identity),
        episodes=_parse(data / "episodes.yaml", dict[str, Script]),
    )


def held_out_lines() -> list[Line]:
    """The lines that the text head was tested on and never trained on."""
    kinds: dict[str, Kind] = {"harmful": "harmful", "hard_negative": "hard negative", "benign": "plain"}
    return [
        Line(f"held-out-{number:04d}", line.parts, kinds[line.kind], tuple(sorted(line.labels)), None, number)
        for number, line in enumerate(read_test())
        if not any(character.isdigit() for character in line.text)
    ]


def slug(words: str) -> str:
    """For ids and file names: small letters, digits and hyphens."""
    return "-".join("".join(c if c.isalnum() else " " for c in words.lower()).split())


def _own(kind: Kind, lines: Mapping[Category, _CategoryLines]) -> Iterator[Line]:
    for row, category in enumerate(Category):
        texts = lines[category].harmful if kind == "harmful" else lines[category].hard_negative
        for column, genre in enumerate(GENRES):
            id_ = f"{_ID_PREFIXES[kind]}-{slug(category)}-{slug(genre)}"
            categories = (category,) if kind == "harmful" else ()
            yield Line(id_, (texts[genre],), kind, categories, genre, row + column)


def _parse(path: Path, kind: Any) -> Any:
    try:
        return TypeAdapter(kind).validate_python(yaml_files.parse(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError) as error:
        raise TextsError(f"{path}: cannot be read as YAML: {error}") from None
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_url=False)]
        raise TextsError(f"{path}: {'; '.join(faults)}") from None
