"""Label maps: which labels of somebody's checkpoint mean which categories of our taxonomy (a YAML file)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from pydantic import Field

from aircheck.inference.text_safety.card import Card
from aircheck.inference.text_safety.errors import LabelMapError
from aircheck.policy.taxonomy import Category


class LabelMap(Card):
    """A label map, as the files in `server_config/labels/` spell it. Several labels may mean one category."""

    activation: Literal["sigmoid", "softmax"] = Field(
        description="sigmoid: labels are independent (multi-label); softmax: exactly one label applies"
    )
    max_tokens: int = Field(ge=8, le=8192, description="longest input of the checkpoint, in tokens")
    labels: dict[str, Category | None] = Field(
        min_length=1, description="every label of the checkpoint to a category, or null for a label that is no harm"
    )

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
                f"{self.called}: checkpoint '{checkpoint}' has the labels {missing}, which the map does not mention; "
                "add them under 'labels', with null for a label that is no harm"
            )
        if unknown := sorted(ours - theirs):
            raise LabelMapError(
                f"{self.called}: it mentions {unknown}, but checkpoint '{checkpoint}' has only {sorted(theirs)}; "
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
