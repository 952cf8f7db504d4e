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
from pathlib import Path

import pandas as pd
from pydantic import BaseModel, ConfigDict, model_validator

from aircheck.evaluation.items import Kind
from aircheck.yaml_files import YamlFile, YamlFileError

_MIN_ITEMS = 10  # of a part that a `*` stands for


class GateError(ValueError):
    """A gate file cannot be used; the message names the file, the bound and the remedy."""


class Bound(BaseModel):
    """The least and the most that a figure may be, both inclusive."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    min: float | None = None
    max: float | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Bound:
        if self.min is None and self.max is None:
            raise ValueError("give min, max or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is above max {self.max:g}")
        return self

    def holds(self, value: float | None) -> bool:
        """A figure that was not measured breaks every bound: silence is no proof."""
        if value is None:
            return False
        return (self.min is None or value >= self.min) and (self.max is None or value <= self.max)

    def __str__(self) -> str:
        parts = [f"≥ {self.min:g}" if self.min is not None else "", f"≤ {self.max:g}" if self.max is not None else ""]
        return " and ".join(part for part in parts if part)


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
    """Every bound against its figure, or figures where its name has a `*`; one without a figure is not measured."""
    values = dict(zip(figures["name"], figures["value"].astype(float), strict=True))
    enough = set(figures["name"][figures["n"] >= _MIN_ITEMS])
    outcomes = []
    for name, bound in bounds.items():
        matching = [known for known in values if fnmatchcase(known, name)] if "*" in name else [name]
        for known in [one for one in matching if one in enough] or matching or [name]:
            value = values.get(known)
            value = None if value is None or pd.isna(value) else value
            outcomes.append(Outcome(known, str(bound), value, bound.holds(value)))
    return outcomes
