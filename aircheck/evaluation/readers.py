"""Readers of labelled data: the public data sets, and a manifest of your own.

Public data; `use` is `train` or `measure`, and what has none is for measuring:

- Text: a folder of gzipped JSONL files, a file a data set. A line has `id`, `text` or `segments` (a window of ordinary
  talk), `y` (our categories to 0 or 1; an absent one is unknown), `kind`, `lang`, `group`, `use`.
- Sounds: a folder with `manifest.jsonl`: `file, label, source, use`. A label that is no event of ours is harmless.
- Speech: a folder with `manifest.jsonl`: `file, text, language, speaker, seconds`.

Your own: one labelled item a line, as JSON; docs/quality.md explains the keys.

    {"id": "threat-017", "audio": "audio/threat-017.opus", "transcript": "i will find you",
     "labels": [{"category": "violence_threat", "start_s": 0.4, "end_s": 1.6}],
     "slices": {"sex": "female", "accent": "en-gb", "kind": "harmful"}}
    {"id": "film-003", "text": "we shoot the film on friday", "labels": [], "slices": {"kind": "hard negative"}}

Slices are free: whatever keys the items carry, the report compares their values. `identity_sentence` and
`identity_term` name a fixed sentence and the group that stands in it.
"""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from whisper.tokenizer import LANGUAGES, TO_LANGUAGE_CODE

from aircheck.evaluation.items import CATEGORIES, EVENTS, TARGETS, DataError, Item, Kind, Span

WINDOW_S = 30.0  # of ordinary talk, as its data sets are cut
TALK = "talk"
SPEECH = "speech"  # the kind of recordings that are only speech
_WITH_GROUPS = ("hatecheck", "multilingual_hatecheck", "toxigen")  # whose `kind` ends with the group that is targeted
_MAX_FAULTS = 20


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Label(_Strict):
    """Something unsafe in an item, and where; without times, somewhere in it."""

    category: str
    start_s: Annotated[float, Field(ge=0.0)] | None = None
    end_s: Annotated[float, Field(gt=0.0)] | None = None

    @model_validator(mode="after")
    def _whole_span(self) -> _Label:
        if self.category not in TARGETS:
            raise ValueError(f"{self.category!r} is no harm of the taxonomy; use one of {', '.join(TARGETS)}")
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
    labels: tuple[_Label, ...] = ()
    slices: dict[str, str] = {}
    note: str | None = None

    @model_validator(mode="after")
    def _one_source(self) -> _Line:
        if (self.audio is None) == (self.text is None):
            raise ValueError("give exactly one of audio and text")
        path = PurePosixPath("none" if self.audio is None else self.audio)
        if path.is_absolute() or ".." in path.parts or not path.parts:
            raise ValueError(f"audio {self.audio!r} must be a path below the manifest's folder, without '..'")
        return self

    def item(self, file: Path) -> Item:
        """A label makes the other targets of its kind (words, or sounds) unknown: they may well be there too."""
        labelled = {label.category for label in self.labels}
        truth: dict[str, bool] = {}
        for kind in (CATEGORIES, EVENTS if self.audio else ()):
            truth |= dict.fromkeys(labelled.intersection(kind), True) or dict.fromkeys(kind, False)
        sounds = [one for one in self.labels if one.category in EVENTS]
        spans = [
            Span(target=one.category, start_s=one.start_s, end_s=one.end_s)
            for one in sounds
            if one.start_s is not None and one.end_s is not None
        ]
        slices = {"group" if key == "identity_term" else key: value for key, value in self.slices.items()}
        return Item(
            id=self.id,
            source=file.parent.name if file.stem == "manifest" else file.stem,
            truth=truth,
            texts=tuple(line for line in (self.text or "").splitlines() if line.strip()),
            audio=file.parent / self.audio if self.audio else None,
            transcript=self.transcript,
            language=self.language,
            template=slices.pop("identity_sentence", ""),
            slices=slices,
            spans=tuple(spans) if len(spans) == len(sounds) else None,
        )


def read_manifest(path: Path) -> tuple[Item, ...]:
    """The items of a manifest of your own. Raises DataError that lists its faults with their lines."""
    items: list[Item] = []
    faults: list[str] = []
    for number, line in _lines(path):
        try:
            items.append(_Line.model_validate_json(line).item(path))
        except ValidationError as error:
            faults += [f"line {number}: {_fault(details)}" for details in error.errors(include_url=False)]
    counts = Counter(item.id for item in items)
    faults += [f"id {id_!r} stands on {count} lines; ids are unique" for id_, count in counts.items() if count > 1]
    if faults:
        more = f"\n  … and {len(faults) - _MAX_FAULTS} more" if len(faults) > _MAX_FAULTS else ""
        raise DataError(f"{path}: not a valid manifest:\n  " + "\n  ".join(faults[:_MAX_FAULTS]) + more)
    if not items:
        raise DataError(f"{path}: holds no items; write one JSON object a line")
    return tuple(items)


def read_public(kind: Kind, folders: Sequence[Path], use: str, sources: Sequence[str] = ()) -> tuple[Item, ...]:
    """The items of the folders, in order.

    Args:
        use: `measure`, `train` or `all`.
        sources: only these data sets; empty for all.

    Raises:
        DataError: a file cannot be read or a line lacks a field, or nothing is left to measure.
    """
    items = [one for folder in folders for file in _files(kind, folder) for one in _items(kind, file)]
    found = tuple(
        item for item, its_use in items if use in ("all", its_use) and (not sources or item.source in sources)
    )
    if not found:
        only = f" of {', '.join(sources)}" if sources else ""
        raise DataError(f"{', '.join(map(str, folders))}: no {kind} items{only} with use {use}; see --use and --source")
    return found


def _text(file: Path, line: Mapping[str, Any]) -> Item:
    source = file.name.removesuffix(".jsonl.gz")
    if "segments" in line:
        return Item(line["id"], source, {}, tuple(line["segments"]), slices={TALK: line.get("title") or source})
    if "text" not in line:
        raise DataError(f"{file}: {line['id']}: has neither text nor segments")
    parts = (line.get("kind") or "").split("|")
    group = parts.pop() if source in _WITH_GROUPS and len(parts) > 1 else ""
    slices = {"kind": f"{source}/{parts[0]}"} if parts[0] else {}
    if len(parts) > 1:
        slices["subkind"] = f"{source}/{'|'.join(parts[:2])}"
    if group and source != "toxigen":
        slices["group"] = f"{source}/{group}"
    truth = {target: bool(value) for target, value in line.get("y", {}).items() if target in TARGETS}
    language = (line.get("lang") or "").lower()
    language = language if language in LANGUAGES else TO_LANGUAGE_CODE.get(language, language)
    template = line.get("group", "") if "group" in slices else ""
    return Item(line["id"], source, truth, (line["text"],), language=language, slices=slices, template=template)


def _sound(file: Path, line: Mapping[str, Any]) -> Item:
    """A folder of speech has no labels: its recordings are harmless sounds, of the label `speech`."""
    label, source = line.get("label", SPEECH), line["source"].split(" ")[0]
    truth = {event: event == label for event in EVENTS}
    return Item(line["file"], source, truth, audio=_audio(file, line), slices={"kind": label})


def _speech(file: Path, line: Mapping[str, Any]) -> Item:
    facts = {"transcript": line["text"], "language": line["language"], "speaker": line["speaker"]}
    return Item(line["file"], file.parent.name, {}, audio=_audio(file, line), **facts)


def _audio(manifest: Path, line: Mapping[str, Any]) -> Path:
    path = manifest.parent / line["file"]
    if not path.is_file():
        raise DataError(f"{manifest}: {path} is missing")
    return path


def _files(kind: Kind, folder: Path) -> Sequence[Path]:
    if kind != Kind.TEXT:
        return [folder / "manifest.jsonl" if folder.is_dir() else folder]
    files = sorted(folder.glob("*.jsonl.gz"))
    if not files:
        raise DataError(f"{folder}: holds no .jsonl.gz file; give a folder of labelled lines")
    return files


def _items(kind: Kind, file: Path) -> Iterator[tuple[Item, str]]:
    """Each with what it is for."""
    reader = {Kind.TEXT: _text, Kind.SOUNDS: _sound, Kind.SPEECH: _speech}[kind]
    for number, text in _lines(file):
        try:
            line = json.loads(text)
            yield reader(file, line), line.get("use", "measure")
        except json.JSONDecodeError as error:
            raise DataError(f"{file}, line {number}: cannot be read: {error}") from None
        except KeyError as error:
            raise DataError(f"{file}, line {number}: has no {error.args[0]}") from None


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a file, gzipped or not, with their numbers; blank ones are left out."""
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8") as file:
            yield from ((number, line) for number, line in enumerate(file, start=1) if line.strip())
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}; give a JSONL file, one item a line") from None


def _fault(details: Any) -> str:
    where = ".".join(str(part) for part in details["loc"])
    message = details["msg"].removeprefix("Value error, ")
    if details["type"] == "extra_forbidden":
        message = f"unknown key; allowed: {', '.join(_Line.model_fields)}; in a label: {', '.join(_Label.model_fields)}"
    return f"{where}: {message}" if where else message
