"""Label maps: which labels of somebody's checkpoint mean which categories of our taxonomy (a YAML file)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError

from aircheck.inference.text_safety.errors import LabelMapError
from aircheck.policy.taxonomy import Category
from aircheck.yaml_files import parse


class LabelMap(BaseModel):
    """A label map, as the files in `server_config/labels/` spell it. Several labels may mean one category."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    activation: Literal["sigmoid", "softmax"] = Field(
        description="sigmoid: labels are independent (multi-label); softmax: exactly one label applies"
    )
    max_tokens: int = Field(ge=8, le=8192, description="longest input of the checkpoint, in tokens")
    labels: dict[str, Category | None] = Field(
        min_length=1, description="every label of the checkpoint to a category, or null for a label that is no harm"
    )
    languages: tuple[Annotated[str, Field(pattern="^[a-z]{2,3}$")], ...] = Field(
        default=(), description="ISO 639-1 codes of the languages that the checkpoint was trained on; empty for any"
    )

    _called: str = PrivateAttr("the label map")

    @classmethod
    def read(cls, path: Path) -> LabelMap:
        """The label map at `path`. Raises LabelMapError that names the file and the fault."""
        try:
            label_map = cls.model_validate(parse(path.read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise LabelMapError(f"label map {path}: cannot be read as YAML: {error}") from None
        except ValidationError as error:
            faults = "; ".join(_fault(details) for details in error.errors(include_url=False))
            raise LabelMapError(f"label map {path}: {faults}") from None
        label_map._called = f"label map {path}"
        return label_map

    def unmapped(self) -> tuple[Category, ...]:
        """Categories that no label means; they always score 0."""
        return tuple(category for category in Category if category not in self.labels.values())

    def columns(self, id2label: Mapping[int, str], checkpoint: str) -> dict[Category, list[int]]:
        """The checkpoint's output columns of each mapped category.

        Raises LabelMapError when the map and the checkpoint do not name the same labels.
        """
        theirs, ours = set(id2label.values()), set(self.labels)
        if missing := sorted(theirs - ours):
            raise LabelMapError(
                f"{self._called}: checkpoint '{checkpoint}' has the labels {missing}, which the map does not mention; "
                "add them under 'labels', with null for a label that is no harm"
            )
        if unknown := sorted(ours - theirs):
            raise LabelMapError(
                f"{self._called}: it mentions {unknown}, but checkpoint '{checkpoint}' has only {sorted(theirs)}; "
                "correct their spelling or remove them"
            )
        columns: dict[Category, list[int]] = {}
        for index, label in sorted(id2label.items()):
            if (category := self.labels[label]) is not None:
                columns.setdefault(category, []).append(index)
        return columns


def to_categories(scores: np.ndarray, columns: Mapping[Category, list[int]]) -> np.ndarray:
    """Label scores [texts, labels] to category scores [texts, categories]: the highest label of a category."""
    out = np.zeros((len(scores), len(Category)), dtype=np.float32)
    for index, category in enumerate(Category):
        if category in columns:
            out[:, index] = scores[:, columns[category]].max(axis=1)
    return out


def _fault(details: Any) -> str:
    """One of pydantic's errors as `labels.toxic: what is wrong, and what to write instead`."""
    where = ".".join(map(str, details["loc"])) or "file"
    found = details["input"]
    if details["type"] == "enum":
        known = ", ".join(Category)
        return f"{where}: there is no category {found!r}; write one of {known}, or null for a label that is no harm"
    if details["loc"][-1:] == ("[key]",):
        return f"labels: YAML reads the label {found!r} not as text; put it in quotes"
    return f"{where}: {details['msg']} (is {found!r})"
