"""How a foreign checkpoint's labels become our events: a YAML file, validated against the checkpoint."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from aircheck.inference.acoustic_safety.errors import LabelMapError
from aircheck.inference.acoustic_safety.events import EVENTS
from aircheck.policy.taxonomy import Category
from aircheck.yaml_files import YamlFile, YamlFileError

NAMES = (*EVENTS, *(category.value for category in Category))


class LabelMap(BaseModel):
    """A label map file. Times are seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    activation: Literal["sigmoid", "softmax"] = Field(description="sigmoid for multi-label checkpoints (AudioSet)")
    window_s: float = Field(default=2.0, gt=0.0, le=30.0, description="what the checkpoint hears at a time")
    hop_s: float = Field(default=0.5, gt=0.0, le=1.0, description="distance of two such windows; the spans' grid")
    onset: float = Field(default=0.5, ge=0.0, le=1.0, description="a span needs one score this high")
    offset: float = Field(default=0.3, ge=0.0, le=1.0, description="and lasts while scores stay this high")
    events: Mapping[str, tuple[str, ...]] = Field(
        description="our event, or a category that is heard in a voice: the checkpoint's labels; the highest counts"
    )

    @field_validator("events")
    @classmethod
    def _known_events(cls, events: Mapping[str, tuple[str, ...]]) -> Mapping[str, tuple[str, ...]]:
        unknown = sorted(set(events) - set(NAMES))
        if unknown:
            raise ValueError(f"there are no events {unknown}; write one of {list(NAMES)}")
        empty = sorted(event for event, labels in events.items() if not labels)
        if empty or not events:
            raise ValueError(f"events without labels: {empty}; name at least one label or leave the event out")
        owner: dict[str, str] = {}
        for event, labels in events.items():
            for label in labels:
                if label in owner:
                    raise ValueError(f"label {label!r} stands under {owner[label]} and {event}; keep one of the two")
                owner[label] = event
        return events

    @model_validator(mode="after")
    def _ordered(self) -> LabelMap:
        if self.offset > self.onset:
            raise ValueError(f"offset {self.offset} is above onset {self.onset}")
        if self.hop_s > self.window_s:
            raise ValueError(f"hop_s {self.hop_s} exceeds window_s {self.window_s}: sound between would be missed")
        return self

    @classmethod
    def load(cls, path: Path) -> LabelMap:
        """Raises `LabelMapError` naming the file and the field."""
        try:
            return YamlFile.read(path).checked(cls)
        except YamlFileError as error:
            raise LabelMapError(f"label map {error}") from None

    def columns(self, id2label: Mapping[int, str], checkpoint: str) -> dict[str, list[int]]:
        """For each of our names, in our order, its outputs. Raises `LabelMapError` for an unknown label."""
        indices: dict[str, list[int]] = {}
        for index, label in sorted(id2label.items()):
            indices.setdefault(label, []).append(index)
        for event, labels in self.events.items():
            missing = [label for label in labels if label not in indices]
            if missing:
                some = ", ".join(difflib.get_close_matches(missing[0], indices, 3) or sorted(indices)[:8])
                raise LabelMapError(
                    f"{checkpoint} has no label {missing[0]!r} for {event}; correct its spelling or remove it "
                    f"(of its {len(indices)} labels, the nearest are: {some})"
                )
        return {
            event: [index for label in self.events[event] for index in indices[label]]
            for event in NAMES
            if event in self.events
        }
