"""The manifest of your own data: one labelled item a line, as JSON; docs/quality.md explains the keys.

    {"id": "threat-017", "audio": "audio/threat-017.opus", "transcript": "i will find you",
     "labels": [{"category": "violence_threat", "start_s": 0.4, "end_s": 1.6}],
     "slices": {"sex": "female", "accent": "en-gb", "kind": "harmful"}}
    {"id": "film-003", "text": "we shoot the film on friday", "labels": [], "slices": {"kind": "hard negative"}}

Slices are free: whatever keys the items carry, the report compares their values. `identity_sentence` and
`identity_term` name a fixed sentence and the group that stands in it.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from aircheck.evaluation.items import CATEGORIES, EVENTS, TARGETS, DataError, Item, Span

_MAX_FAULTS = 20


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
        if value not in TARGETS:
            raise ValueError(f"{value!r} is no harm of the taxonomy; use one of {', '.join(TARGETS)}")
        return value

    @model_validator(mode="after")
    def _whole_span(self) -> Label:
        if (self.start_s is None) != (self.end_s is None):
            raise ValueError("start_s and end_s belong together; give both or neither")
        if self.start_s is not None and self.end_s is not None and self.end_s <= self.start_s:
            raise ValueError(f"end_s {self.end_s:g} is not after start_s {self.start_s:g}")
        return self


class _Line(_Strict):
    id: Annotated[str, Field(min_length=1, max_length=200)]
    audio: str | None = None
    text: str | None = Field(None, min_length=1)
    transcript: str | None = None
    language: str = "en"
    labels: tuple[Label, ...] = ()
    slices: dict[str, str] = {}
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
    def _one_source(self) -> _Line:
        if (self.audio is None) == (self.text is None):
            raise ValueError("give exactly one of audio and text")
        return self

    def item(self, manifest: Path) -> Item:
        """A label makes the other targets of its kind (words, or sounds) unknown: they may well be there too."""
        labelled = {label.category for label in self.labels}
        truth: dict[str, bool] = {}
        for kind in (CATEGORIES, EVENTS if self.audio else ()):
            truth |= dict.fromkeys(labelled.intersection(kind), True) or dict.fromkeys(kind, False)
        spans = [
            Span(target=one.category, start_s=one.start_s, end_s=one.end_s)
            for one in self.labels
            if one.category in EVENTS and one.start_s is not None and one.end_s is not None
        ]
        slices = {"group" if key == "identity_term" else key: value for key, value in self.slices.items()}
        return Item(
            id=self.id,
            source=manifest.parent.name if manifest.stem == "manifest" else manifest.stem,
            truth=truth,
            texts=tuple(line for line in (self.text or "").splitlines() if line.strip()),
            audio=manifest.parent / self.audio if self.audio else None,
            transcript=self.transcript,
            language=self.language,
            template=slices.pop("identity_sentence", ""),
            slices=slices,
            spans=tuple(spans) if len(spans) == len(labelled & set(EVENTS)) else None,
        )


def read(path: Path) -> tuple[Item, ...]:
    """Reads a manifest. Raises DataError that lists its faults with their lines."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}; give a JSONL file, one item a line") from None
    items: list[Item] = []
    faults: list[str] = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                items.append(_Line.model_validate_json(line).item(path))
            except ValidationError as error:
                faults += [f"line {number}: {_fault(details)}" for details in error.errors(include_url=False)]
    repeated = [(id_, count) for id_, count in Counter(item.id for item in items).items() if count > 1]
    faults += [f"id {id_!r} stands on {count} lines; ids are unique" for id_, count in repeated]
    if faults:
        more = f"\n  … and {len(faults) - _MAX_FAULTS} more" if len(faults) > _MAX_FAULTS else ""
        raise DataError(f"{path}: not a valid manifest:\n  " + "\n  ".join(faults[:_MAX_FAULTS]) + more)
    if not items:
        raise DataError(f"{path}: holds no items; write one JSON object a line")
    return tuple(items)


def _fault(details: Any) -> str:
    where = ".".join(str(part) for part in details["loc"])
    message = details["ctx"]["error"] if details["type"] == "value_error" else details["msg"]
    if details["type"] == "extra_forbidden":
        message = f"unknown key; allowed: {', '.join(_Line.model_fields)}; in a label: {', '.join(Label.model_fields)}"
    return f"{where}: {message}" if where else f"{message}"
