"""What a file says of itself: title, artist, album, language, chapters. All of it is the caller's text: bounded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import av.container
from av.audio.stream import AudioStream

MAX_TEXT = 200  # characters of a tag
MAX_CHAPTERS = 1_000


@dataclass(frozen=True)
class Chapter:
    """A chapter, in the recording's time."""

    start_s: float
    end_s: float
    title: str


@dataclass(frozen=True)
class Tags:
    """Empty where the file says nothing."""

    title: str = ""
    artist: str = ""
    album: str = ""
    language: str = ""
    chapters: tuple[Chapter, ...] = ()


def read_tags(container: av.container.InputContainer, stream: AudioStream) -> Tags:
    """The tags of the file, or else of the track that is heard (Ogg keeps them there); the language is the track's."""
    ours, tracks = (_by_name(metadata) for metadata in (container.metadata, stream.metadata))
    title, artist, album = (ours.get(name) or tracks.get(name, "") for name in ("title", "artist", "album"))
    language = tracks.get("language") or ours.get("language", "")
    return Tags(title, artist, album, "" if language == "und" else language, _chapters(container))


def _chapters(container: av.container.InputContainer) -> tuple[Chapter, ...]:
    found = []
    for chapter in container.chapters()[:MAX_CHAPTERS]:
        unit_s = float(chapter["time_base"] or 0)
        start_s, end_s = chapter["start"] * unit_s, chapter["end"] * unit_s
        if 0 <= start_s <= end_s:
            found.append(Chapter(round(start_s, 3), round(end_s, 3), _by_name(chapter["metadata"]).get("title", "")))
    return tuple(found)


def _by_name(metadata: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): bounded(text) for name, text in metadata.items()}


def bounded(text: str) -> str:
    """The text on one line, without what cannot be printed, of at most MAX_TEXT characters."""
    return "".join(char for char in " ".join(text[: 4 * MAX_TEXT].split()) if char.isprintable())[:MAX_TEXT]
