"""What a run leaves behind: a line for every scored item, and the conditions under which all of them were scored.

`DIR/results.jsonl` grows as items are finished, so that an interrupted run goes on where it stopped;
`DIR/conditions.json` says what was measured, so that it never goes on with other weights or another pack.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TextIO

from pydantic import BaseModel, ConfigDict, ValidationError

from aircheck_client.schema import Context, Verdict
from benchmarks.quality.manifest import Item

RESULTS = "results.jsonl"
CONDITIONS = "conditions.json"

Through = Literal["server", "whisper", "text_safety", "acoustic_safety"]


class ResultsError(ValueError):
    """Results cannot be used; the message names the file, the fault and the remedy."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelVersion(_Strict):
    """A model that took part; `embedded` ones were trained by this repository's recipes on material it made."""

    model: str  # whisper, text_safety, acoustic_safety
    name: str
    version: str
    sha256: str | None = None  # first digits of the weights file's, where it is one file on this machine
    embedded: bool = False

    def __str__(self) -> str:
        digest = f" (sha256 {self.sha256}…)" if self.sha256 else ""
        return f"{self.model} {self.name} {self.version}{digest}"


class Conditions(_Strict):
    """What was run, in a form that two runs can be compared by."""

    through: Through
    models: tuple[ModelVersion, ...]
    context: Context
    pack_version: str | None  # None where no pack took part
    pack_sha256: str | None  # of the pack's file; None where it is not on this machine
    window_max_s: float

    def differences(self, other: Conditions) -> list[str]:
        """The fields in which the two differ, with both values."""
        pairs = [(name, getattr(self, name), getattr(other, name)) for name in type(self).model_fields]
        return [f"{name}: {_said(there)} there, {_said(now)} now" for name, there, now in pairs if there != now]


class Result(_Strict):
    """One item and what was made of it; with an `error`, nothing else is known.

    Scores are the highest of all windows or segments, for every category whatever the pack's thresholds. A model that
    took no part leaves its scores None.
    """

    item: Item
    source_sha256: str  # of what was scored: the audio's bytes, or the text
    error: str | None = None
    duration_s: float | None = None
    took_s: float = 0.0
    transcript: str | None = None  # as heard; None where Whisper took no part
    text_scores: dict[str, float] | None = None
    event_scores: dict[str, float] | None = None
    verdict: Verdict | None = None


def _said(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


class ResultLog:
    """The results of one run in a folder: those of an earlier try, and those that are added."""

    def __init__(self, folder: Path, conditions: Conditions, fresh: bool = False):
        """Opens or makes the folder; `fresh` forgets what it holds.

        Raises ResultsError when it holds results of other conditions, or cannot be written.
        """
        self.folder = folder
        self.path = folder / RESULTS
        self._conditions = folder / CONDITIONS
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if fresh:
                self.path.unlink(missing_ok=True)
                self._conditions.unlink(missing_ok=True)
            elif self._conditions.exists() and self.path.exists():
                self._refuse_other(conditions)
            self._conditions.write_text(conditions.model_dump_json(indent=1) + "\n")
            self._kept = {} if not self.path.exists() else {r.item.id: r for r in _read_lines(self.path, torn=True)}
            self._rewrite(list(self._kept.values()))  # drops a line torn by an interruption
            self._file: TextIO = self.path.open("a", encoding="utf-8")
        except OSError as error:
            raise ResultsError(f"{folder}: cannot be written: {error}; give another --out") from None

    def __enter__(self) -> ResultLog:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def finished(self, item: Item, digest: str) -> bool:
        """Whether an earlier try scored this very audio or text without an error."""
        kept = self._kept.get(item.id)
        return kept is not None and kept.error is None and kept.source_sha256 == digest

    def add(self, result: Result) -> None:
        """Keeps a result at once."""
        self._kept[result.item.id] = result
        self._file.write(result.model_dump_json() + "\n")
        self._file.flush()

    def close(self, items: Sequence[Item]) -> tuple[Result, ...]:
        """The results in the order of `items`, with the labels that these have now; rewrites the file accordingly."""
        self._file.close()
        results = [self._kept[item.id].model_copy(update={"item": item}) for item in items if item.id in self._kept]
        self._rewrite(results)
        return tuple(results)

    def _refuse_other(self, conditions: Conditions) -> None:
        if differences := read_conditions(self.folder).differences(conditions):
            raise ResultsError(
                f"{self.folder} holds results of other conditions ({'; '.join(differences)}); "
                "give another --out, or --fresh to measure anew"
            )

    def _rewrite(self, results: Sequence[Result]) -> None:
        new = self.path.with_suffix(".tmp")
        new.write_text("".join(result.model_dump_json() + "\n" for result in results), encoding="utf-8")
        new.replace(self.path)


def read_results(path: Path) -> tuple[Result, ...]:
    """The results in a file, or in a run's folder. Raises ResultsError."""
    return tuple(_read_lines(path / RESULTS if path.is_dir() else path, torn=False))


def read_conditions(folder: Path) -> Conditions:
    """The conditions of a run's folder. Raises ResultsError."""
    path = folder / CONDITIONS
    try:
        return Conditions.model_validate_json(path.read_text())
    except (OSError, ValidationError) as error:
        raise ResultsError(f"{path}: cannot be read ({error}); run `aircheck evaluate` with --fresh") from None


def _read_lines(path: Path, torn: bool) -> list[Result]:
    """`torn`: the last line may be incomplete, as an interruption leaves it, and is then left out."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ResultsError(
            f"{path}: results cannot be read: {error}; give one that `aircheck evaluate` wrote, or its folder"
        ) from None
    results = []
    for number, line in enumerate(lines, start=1):
        try:
            results.append(Result.model_validate_json(line))
        except ValidationError as error:
            if torn and number == len(lines):
                break
            first = json.loads(error.json(include_url=False))[0]
            where = ".".join(str(part) for part in first["loc"])
            raise ResultsError(f"{path}, line {number}: {where}: {first['msg']}; measure anew with --fresh") from None
    return results
