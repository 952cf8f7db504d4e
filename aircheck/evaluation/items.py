"""What is measured: one labelled text or recording, and what a model made of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from aircheck.policy.taxonomy import HARM_EVENTS, Category
from aircheck.shipped import shipped

CATEGORIES: tuple[str, ...] = tuple(Category)
EVENTS: tuple[str, ...] = tuple(HARM_EVENTS)
TARGETS: tuple[str, ...] = (*CATEGORIES, *EVENTS)
"""What a truth may be about: the categories of speech, then the harmful sounds."""


class Kind(StrEnum):
    """What is measured by one model alone: three forms of public data, and the policy judge's obedience."""

    TEXT = "text"
    SOUNDS = "sounds"
    SPEECH = "speech"
    JUDGE = "judge"


COMMITTED_SET = shipped("samples/quality") / "manifest.jsonl"
"""This project's own small set, which `aircheck evaluate` takes when it is given no data."""


class EvaluationError(ValueError):
    """Something that a person can mend; the message names it and the remedy."""


class UsageError(EvaluationError):
    """The options do not go together, or one has a value that cannot be used."""


class DataError(EvaluationError):
    """Data cannot be used; the message names the file, the line, the fault and the remedy."""


class Span(BaseModel):
    """A target, and where it is: labelled, or found with a score."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    target: str
    start_s: float
    end_s: float
    score: float = 1.0


@dataclass(frozen=True)
class Item:
    """Something to score, and the truth about it."""

    id: str
    source: str  # the data set it is from
    truth: Mapping[str, bool]  # of each target whose truth is known, whether it is there; others are not harmless
    texts: tuple[str, ...] = ()  # the segments of a text; empty for a recording
    audio: Path | None = None  # the file of a recording
    transcript: str | None = None  # what is said in the recording; None where that is not known
    language: str = ""  # ISO 639-1 code; empty where it is not known
    slices: Mapping[str, str] = field(default_factory=dict)  # what is compared: functional class, group, codec
    template: str = ""  # the sentence that it is an instance of, about one of several groups (`slices["group"]`)
    speaker: str = ""
    spans: tuple[Span, ...] | None = None  # where the harmful sounds are; None where that is not known

    def result(self, **found: Any) -> Result:
        """Of what is scored now. Raises OSError."""
        return Result(id=self.id, fingerprint=self.fingerprint(), **found)

    def fingerprint(self) -> str:
        """Of what is scored: another one has to be scored anew. Raises OSError."""
        if self.audio is None:
            return hashlib.sha256("\n".join((self.language, *self.texts)).encode()).hexdigest()[:16]
        facts = self.audio.stat()
        return f"{facts.st_size}/{facts.st_mtime_ns}"


class Result(BaseModel):
    """What a model, or the whole chain, made of one item; with an `error`, nothing else is known."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    fingerprint: str = ""  # of what was scored; empty with an error
    error: str | None = None
    duration_s: float | None = None
    scores: dict[str, float] = {}  # of every target that was scored, the highest of all windows and segments
    spans: tuple[Span, ...] | None = None  # where sounds were found; None where no acoustic model took part
    transcript: str | None = None  # None where Whisper took no part
    language: str = ""
