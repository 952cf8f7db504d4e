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
from typing import get_args

import pandas as pd
import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from aircheck.evaluation.public_data import Kind

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
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise GateError(f"{path}: the gate file cannot be read: {error}") from None
    except yaml.YAMLError as error:
        raise GateError(f"{path}: not valid YAML: {error}") from None
    parted = isinstance(content, dict) and any(name in content for name in get_args(Kind))
    own = content.get(kind) if parted else content
    if not isinstance(own, dict) or not own:
        raise GateError(f"{path}: holds no bounds for {kind}; write lines such as `wer: {{max: 0.2}}`")
    bounds = {}
    for name, given in own.items():
        try:
            bounds[str(name)] = Bound.model_validate(given)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            fault = first["ctx"]["error"] if first["type"] == "value_error" else first["msg"]
            where = ".".join([str(name), *map(str, first["loc"])])
            raise GateError(f"{path}: {where}: {fault}; a bound is `{{min: 0.8}}`, `{{max: 0.2}}` or both") from None
    return bounds


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
