"""Precision, recall and F1 of an event over many recordings; what pairs with what: `aircheck.evaluation.events`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from aircheck.evaluation.events import BOTH, ONSET, Criterion, Span, pair

BOOTSTRAPS = 1000


def overlap(one: Span, other: Span) -> bool:
    return one.start_s < other.end_s and other.start_s < one.end_s


@dataclass
class Scores:
    """Counts of one event, one row a recording, so that intervals can be had by drawing recordings again."""

    true: list[int] = field(default_factory=list)
    reported: list[int] = field(default_factory=list)
    right: dict[str, list[int]] = field(default_factory=lambda: {ONSET.name: [], BOTH.name: []})
    onset_error_s: list[float] = field(default_factory=list)

    def add(self, truth: Sequence[Span], found: Sequence[Span], excused: Sequence[Span] = ()) -> None:
        """One recording. A reported span that matches nothing but overlaps an `excused` one is not held against it."""
        pairs = {criterion.name: pair(truth, found, criterion) for criterion in (ONSET, BOTH)}
        matched = set(pairs[ONSET.name].values())
        counted = [j for j, span in enumerate(found) if j in matched or not any(overlap(span, e) for e in excused)]
        self.true.append(len(truth))
        self.reported.append(len(counted))
        for name, matching in pairs.items():
            self.right[name].append(len(matching))
        self.onset_error_s += [abs(truth[i].start_s - found[j].start_s) for i, j in pairs[ONSET.name].items()]

    def extend(self, other: Scores) -> None:
        self.true += other.true
        self.reported += other.reported
        for name, right in other.right.items():
            self.right[name] += right
        self.onset_error_s += other.onset_error_s

    def f1(self, criterion: Criterion) -> float:
        return float(2 * sum(self.right[criterion.name]) / max(sum(self.true) + sum(self.reported), 1))

    def interval(self, criterion: Criterion) -> tuple[float, float]:
        """95 % bootstrap interval of the F1 over recordings."""
        rows = np.random.default_rng(0).integers(len(self.true), size=(BOOTSTRAPS, len(self.true)))
        true, reported = np.array(self.true)[rows].sum(1), np.array(self.reported)[rows].sum(1)
        f1 = 2 * np.array(self.right[criterion.name])[rows].sum(1) / np.maximum(true + reported, 1)
        low, high = np.quantile(f1, [0.025, 0.975])
        return float(low), float(high)

    def summary(self) -> dict[str, float | list[float]]:
        true, reported = sum(self.true), sum(self.reported)
        result: dict[str, float | list[float]] = {"true": true, "reported": reported}
        for criterion in (ONSET, BOTH):
            right = sum(self.right[criterion.name])
            result |= {
                f"{criterion.name}_f1": round(self.f1(criterion), 3),
                f"{criterion.name}_f1_interval": [round(edge, 3) for edge in self.interval(criterion)] if true else [],
                f"{criterion.name}_precision": round(right / max(reported, 1), 3),
                f"{criterion.name}_recall": round(right / max(true, 1), 3),
            }
        if self.onset_error_s:
            result["median_onset_error_s"] = round(float(np.median(self.onset_error_s)), 3)
        return result
