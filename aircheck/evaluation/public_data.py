"""Readers of the public data sets: labelled lines, labelled sounds, transcribed speech.

- Text: a folder of gzipped JSONL files, a file a data set. A line has `id`, `text` or `segments` (a window of ordinary
  talk), `y` (our categories to 0 or 1; an absent one is unknown), `kind`, `lang`, `group`, `use`.
- Sounds: a folder with `manifest.jsonl`: `file, label, source, use`. A label that is no event of ours is harmless.
- Speech: a folder with `manifest.jsonl`: `file, text, language, speaker, seconds`.

`use` is `train` or `measure`; what has none is for measuring.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from whisper.tokenizer import LANGUAGES, TO_LANGUAGE_CODE

from aircheck.evaluation.items import EVENTS, TARGETS, DataError, Item, Kind

WINDOW_S = 30.0  # of ordinary talk, as its data sets are cut
TALK = "talk"
SPEECH = "speech"  # the kind of recordings that are only speech
_WITH_GROUPS = ("hatecheck", "multilingual_hatecheck", "toxigen")  # whose `kind` ends with the group that is targeted
_OTHER_CODES = {"mandarin": "zh"}


def read(kind: Kind, folders: tuple[Path, ...], use: str, sources: tuple[str, ...] = ()) -> tuple[Item, ...]:
    """The items of the folders, in order.

    Args:
        use: `measure`, `train` or `all`.
        sources: only these data sets; empty for all.

    Raises:
        DataError: a file cannot be read or a line lacks a field, or nothing is left to measure.
    """
    reader = {Kind.TEXT: _text, Kind.SOUNDS: _sounds, Kind.SPEECH: _speech}[kind]
    found = [
        item
        for folder in folders
        for item, its_use in reader(folder)
        if use in ("all", its_use) and (not sources or item.source in sources)
    ]
    if not found:
        only = f" of {', '.join(sources)}" if sources else ""
        raise DataError(f"{', '.join(map(str, folders))}: no {kind} items{only} with use {use}; see --use and --source")
    return tuple(found)


def _text(folder: Path) -> Iterator[tuple[Item, str]]:
    files = sorted(folder.glob("*.jsonl.gz"))
    if not files:
        raise DataError(f"{folder}: holds no .jsonl.gz file; give a folder of labelled lines")
    for file in files:
        source = file.name.removesuffix(".jsonl.gz")
        for line in _lines(file, ("id",)):
            yield _line(source, file, line), line.get("use", "measure")


def _line(source: str, file: Path, line: Mapping[str, Any]) -> Item:
    if "segments" in line:
        return Item(line["id"], source, {}, tuple(line["segments"]), slices={"talk": line.get("title") or source})
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
    language = _code(line.get("lang") or "")
    template = line.get("group", "") if "group" in slices else ""
    return Item(line["id"], source, truth, (line["text"],), language=language, slices=slices, template=template)


def _code(language: str) -> str:
    """`arabic` and `ar` are `ar`."""
    name = language.lower()
    return name if name in LANGUAGES else TO_LANGUAGE_CODE.get(name) or _OTHER_CODES.get(name, name)


def _sounds(folder: Path) -> Iterator[tuple[Item, str]]:
    """A folder of speech has no labels: its recordings are harmless sounds, of the label `speech`."""
    path = folder / "manifest.jsonl"
    for line in _lines(path, ("file", "source")):
        label = line.get("label", SPEECH)
        audio = _audio(path, line["file"])
        truth = {event: event == label for event in EVENTS}
        source = line["source"].split(" ")[0]
        yield Item(line["file"], source, truth, audio=audio, slices={"kind": label}), line.get("use", "measure")


def _speech(folder: Path) -> Iterator[tuple[Item, str]]:
    path = folder / "manifest.jsonl" if folder.is_dir() else folder
    for line in _lines(path, ("file", "text", "language", "speaker", "seconds")):
        item = Item(
            line["file"],
            path.parent.name,
            {},
            audio=_audio(path, line["file"]),
            transcript=line["text"],
            language=line["language"],
            speaker=line["speaker"],
        )
        yield item, line.get("use", "measure")


def _audio(manifest: Path, file: str) -> Path:
    path = manifest.parent / file
    if not path.is_file():
        raise DataError(f"{manifest}: {path} is missing")
    return path


def _lines(path: Path, needed: tuple[str, ...]) -> Iterator[Mapping[str, Any]]:
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8") as file:
            for number, text in enumerate(file, start=1):
                if not text.strip():
                    continue
                line = json.loads(text)
                if missing := [name for name in needed if name not in line]:
                    raise DataError(f"{path}, line {number}: has no {', '.join(missing)}")
                yield line
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None
