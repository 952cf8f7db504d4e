"""What a check says."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """OK; NOTE: it runs, and could run better or safer; FAULT: it does not run, or not rightly."""

    OK = "ok"
    NOTE = "note"
    FAULT = "fault"


@dataclass(frozen=True)
class Result:
    """A line of the report.

    subject : what was looked at
    found : what is there
    remedy : what to do; empty where nothing is needed
    """

    subject: str
    level: Level
    found: str
    remedy: str = ""

    def __post_init__(self) -> None:
        if bool(self.remedy) == (self.level == Level.OK):
            raise ValueError(f"{self.subject}: a remedy belongs to a note or a fault, and to nothing else")


def ok(subject: str, found: str) -> Result:
    return Result(subject, Level.OK, found)


def note(subject: str, found: str, remedy: str) -> Result:
    return Result(subject, Level.NOTE, found, remedy)


def fault(subject: str, found: str, remedy: str) -> Result:
    return Result(subject, Level.FAULT, found, remedy)
