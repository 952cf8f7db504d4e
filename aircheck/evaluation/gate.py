"""Bounds that a checkpoint or a pack must keep before it ships.

    wer: {max: 0.20}
    categories.auc: {min: 0.88}
    kind=hatecheck/*_nh.false_alarms: {max: 0.15}      # every part that rests on ten items or more

The names are those of `figures` in the JSON report.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import inf, isfinite
from pathlib import Path

import pandas as pd
from pydantic import BaseModel, ConfigDict, model_validator

from aircheck.evaluation.items import EvaluationError, Kind
from aircheck.yaml_files import YamlFile, YamlFileError

_MIN_ITEMS = 10  # of a part that a `*` stands for


class GateError(EvaluationError):
    """A gate file cannot be used; the message names the file, the bound and the remedy."""


class Bound(BaseModel):
    """The least and the most that a figure may be, both inclusive."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    min: float = -inf
    max: float = inf

    @model_validator(mode="after")
    def _says_something(self) -> Bound:
        if not self.model_fields_set:
            raise ValueError("give min, max or both")
        if self.min > self.max:
            raise ValueError(f"min {self.min:g} is above max {self.max:g}")
        return self

    def __str__(self) -> str:
        bounds = (("≥", self.min), ("≤", self.max))
        return " and ".join(f"{sign} {bound:g}" for sign, bound in bounds if isfinite(bound))


@dataclass(frozen=True)
class Outcome:
    """One figure against its bound."""

    name: str
    bound: str
    value: float | None
    passed: bool


def read(path: Path, kind: str) -> dict[str, Bound]:
    """The bounds in a gate file, or in its part for this kind of data (`text:`, `sounds:`, …). Raises GateError."""
    try:
        file = YamlFile.read(path)
    except YamlFileError as error:
        raise GateError(f"gate file {error}") from None
    parted = isinstance(file.content, dict) and any(kind in file.content for kind in Kind)
    if not (file.content.get(kind) if parted else file.content):
        raise GateError(f"gate file {path}: holds no bounds for {kind}; write lines such as `wer: {{max: 0.2}}`")
    try:
        return file.checked(dict[str, Bound], kind if parted else None)
    except YamlFileError as error:
        raise GateError(f"gate file {error}; a bound is `{{min: 0.8}}`, `{{max: 0.2}}` or both") from None


def check(figures: pd.DataFrame, bounds: Mapping[str, Bound]) -> list[Outcome]:
    """Every bound against its figure, or figures where its name has a `*`.

    A figure that was not measured breaks every bound: silence is no proof.
    """
    measured = figures.set_index("name")
    outcomes = []
    for name, bound in bounds.items():
        matching = [known for known in measured.index if "*" in name and fnmatchcase(known, name)]
        enough = [known for known in matching if measured["n"][known] >= _MIN_ITEMS]
        for known in enough or matching or [name]:
            value = measured["value"].get(known)
            value = None if pd.isna(value) else float(value)
            outcomes.append(Outcome(known, str(bound), value, value is not None and bound.min <= value <= bound.max))
    return outcomes
