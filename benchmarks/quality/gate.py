"""Bounds that a checkpoint or a pack must keep before it ships.

    wer: {max: 0.20}
    recall_at_1pct_fpr.macro: {min: 0.80}
    slices.sex.*.recall: {min: 0.60}      # every value of a slice, unless the bound names one

The names are those of `figures` in report.json.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator


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


class Outcome(BaseModel):
    """One figure against its bound."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    bound: str
    value: float | None
    passed: bool


def read(path: Path) -> dict[str, Bound]:
    """The bounds in a gate file. Raises GateError."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise GateError(f"{path}: the gate file cannot be read: {error}") from None
    except yaml.YAMLError as error:
        raise GateError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(content, dict) or not content:
        raise GateError(f"{path}: holds no bounds; write lines such as `wer: {{max: 0.2}}`")
    bounds = {}
    for name, given in content.items():
        try:
            bounds[str(name)] = Bound.model_validate(given)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            fault = first["ctx"]["error"] if first["type"] == "value_error" else first["msg"]
            where = ".".join([str(name), *map(str, first["loc"])])
            raise GateError(f"{path}: {where}: {fault}; a bound is `{{min: 0.8}}`, `{{max: 0.2}}` or both") from None
    return bounds


def check(figures: Mapping[str, float | None], bounds: Mapping[str, Bound]) -> Sequence[Outcome]:
    """Every bound against its figure, or figures where its name has a `*`. Raises GateError for an unknown name."""
    outcomes = []
    for name, bound in bounds.items():
        matching = [name] if name in figures else _matching(name, figures)
        if not matching:
            near = difflib.get_close_matches(name, figures, 3, 0.5)
            hint = f"did you mean {' or '.join(near)}?" if near else "see `figures` in report.json"
            raise GateError(f"bound {name!r}: this run has no such figure; {hint}")
        for known in matching:
            value = figures[known]
            outcomes.append(Outcome(name=known, bound=str(bound), value=value, passed=bound.holds(value)))
    return outcomes


def _matching(pattern: str, figures: Mapping[str, float | None]) -> list[str]:
    """The measured figures that a name with a `*` stands for: not every value of a slice has every figure."""
    known = [name for name in figures if "*" in pattern and fnmatchcase(name, pattern)]
    return [name for name in known if figures[name] is not None] or known
