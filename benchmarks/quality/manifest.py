"""The manifest of the quality bench: one labelled item a line, as JSON.

    {"id": "threat-017", "audio": "audio/threat-017.opus", "transcript": "i will find you",
     "labels": [{"category": "violence_threat", "start_s": 0.4, "end_s": 1.6}],
     "slices": {"sex": "female", "accent": "en-gb", "snr": "10 dB", "kind": "harmful"}}
    {"id": "film-003", "text": "we shoot the film on friday", "labels": [], "slices": {"kind": "hard negative"}}

Slices are free: whatever keys the items carry, the report compares their values. Three keys mean something by
themselves: `kind`, whose values "hard negative" (words) and "hard negative sound" mark harmless items that resemble
harmful ones, and `identity_sentence` with `identity_term`, which name a fixed sentence and the group that stands in it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from aircheck.policy.taxonomy import CONTEXT_EVENTS, HARM_EVENTS, Category

KIND = "kind"
HARD_NEGATIVE = "hard negative"
HARD_NEGATIVE_SOUND = "hard negative sound"
IDENTITY_SENTENCE = "identity_sentence"
IDENTITY_TERM = "identity_term"

CATEGORIES: tuple[str, ...] = tuple(Category)
EVENTS: tuple[str, ...] = tuple(HARM_EVENTS)
TARGETS: tuple[str, ...] = (*CATEGORIES, *EVENTS)
"""Everything a label may name and a verdict may find: the categories of speech, then the sounds."""

EMBEDDED_SET = Path(__file__).parent / "data" / "manifest.jsonl"
"""The small set that is part of the repository; `benchmarks.quality.embedded` makes it."""

_MAX_FAULTS = 20


class ManifestError(ValueError):
    """A manifest cannot be used; the message names the file, the line, the fault and the remedy."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Label(_Strict):
    """Something unsafe in an item, and where; without times, somewhere in it."""

    category: str = Field(description="a category of speech or a harmful sound event of the taxonomy")
    start_s: Annotated[float, Field(ge=0.0)] | None = None
    end_s: Annotated[float, Field(gt=0.0)] | None = None

    @field_validator("category")
    @classmethod
    def _known(cls, value: str) -> str:
        if value in CONTEXT_EVENTS:
            raise ValueError(f"{value!r} is no harm and never a finding; use slices to say what else is heard")
        if value not in TARGETS:
            raise ValueError(f"{value!r} is not in the taxonomy; use one of {', '.join(TARGETS)}")
        return value

    @model_validator(mode="after")
    def _whole_span(self) -> Label:
        if (self.start_s is None) != (self.end_s is None):
            raise ValueError("start_s and end_s belong together; give both or neither")
        if self.start_s is not None and self.end_s is not None and self.end_s <= self.start_s:
            raise ValueError(f"end_s {self.end_s:g} is not after start_s {self.start_s:g}")
        return self


class Item(_Strict):
    """One thing to score, and the truth about it."""

    id: Annotated[str, Field(min_length=1, max_length=200)]
    audio: str | None = Field(None, description="file, relative to the manifest's folder, any format the server takes")
    text: str | None = Field(None, min_length=1, description="instead of audio: words; each line is a segment")
    transcript: str | None = Field(None, description="what is said in the audio, for the word error rate")
    labels: tuple[Label, ...] = ()  # empty: nothing unsafe
    slices: dict[str, str] = Field(default_factory=dict)
    note: str | None = None

    @field_validator("audio")
    @classmethod
    def _inside(cls, value: str | None) -> str | None:
        if value is not None:
            path = PurePosixPath(value)
            if path.is_absolute() or ".." in path.parts or not path.parts:
                raise ValueError(f"{value!r} must be a path below the manifest's folder, without '..'")
        return value

    @model_validator(mode="after")
    def _one_source(self) -> Item:
        if (self.audio is None) == (self.text is None):
            raise ValueError("give exactly one of audio and text")
        if self.text is not None and self.transcript is not None:
            raise ValueError("transcript is for audio; a text item is its own transcript")
        if (IDENTITY_SENTENCE in self.slices) != (IDENTITY_TERM in self.slices):
            raise ValueError(f"slices {IDENTITY_SENTENCE} and {IDENTITY_TERM} belong together; give both or neither")
        return self

    @property
    def categories(self) -> frozenset[str]:
        """What the labels name."""
        return frozenset(label.category for label in self.labels)


@dataclass(frozen=True)
class Manifest:
    """The items of a manifest file; ids are unique."""

    path: Path
    items: tuple[Item, ...]

    def audio_path(self, item: Item) -> Path:
        """Where an item's audio lies. Raises ValueError for a text item."""
        if item.audio is None:
            raise ValueError(f"{item.id} has no audio")
        return self.path.parent / item.audio


def read(path: Path) -> Manifest:
    """Reads a manifest. Raises ManifestError that lists its faults with their lines."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(
            f"{path}: the manifest cannot be read: {error}; give a JSONL file, one item a line"
        ) from None
    items: list[Item] = []
    faults: list[str] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            items.append(Item.model_validate_json(line))
        except ValidationError as error:
            faults += [f"line {number}: {_fault(details)}" for details in error.errors(include_url=False)]
    faults += [f"id {id_!r} stands on {count} lines; ids are unique" for id_, count in _repeated(items)]
    if faults:
        more = f"\n  … and {len(faults) - _MAX_FAULTS} more" if len(faults) > _MAX_FAULTS else ""
        raise ManifestError(f"{path}: not a valid manifest:\n  " + "\n  ".join(faults[:_MAX_FAULTS]) + more)
    if not items:
        raise ManifestError(f"{path}: holds no items; write one JSON object a line")
    return Manifest(path, tuple(items))


def write(items: Iterable[Item], path: Path) -> None:
    """Writes a manifest that `read` reads; what is at its default is left out."""
    lines = [json.dumps(item.model_dump(exclude_defaults=True), ensure_ascii=False) for item in items]
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def _repeated(items: Sequence[Item]) -> list[tuple[str, int]]:
    return [(id_, count) for id_, count in Counter(item.id for item in items).items() if count > 1]


def _fault(details: object) -> str:
    assert isinstance(details, dict)
    where = ".".join(str(part) for part in details["loc"])
    message = details["ctx"]["error"] if details["type"] == "value_error" else details["msg"]
    if details["type"] == "extra_forbidden":
        message = (
            f"unknown key; allowed: {', '.join(Item.model_fields if len(details['loc']) == 1 else Label.model_fields)}"
        )
    return f"{where}: {message}" if where else f"{message}"
