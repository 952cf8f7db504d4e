"""Event-based scores as the field counts them: pairs of true and reported spans, precision, recall, F1.

After Mesaros et al., "Metrics for polyphonic sound event detection" (Applied Sciences, 2016), and their sed_eval:
each true span pairs with at most one reported span, by the largest matching. Two criteria: «onset», within 0.5 s, is
that of DCASE 2017 for rare sound events (gunshot, breaking glass, a crying baby); «onset and offset» also asks
for an end within 0.5 s or half of the true length, whichever is larger, which is sed_eval's default share.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

TOLERANCE_S = 0.5
OFFSET_SHARE = 0.5
BOOTSTRAPS = 1000


class Span(Protocol):
    """Anything with a start and an end, s."""

    @property
    def start_s(self) -> float: ...
    @property
    def end_s(self) -> float: ...


@dataclass(frozen=True)
class Criterion:
    """When a reported span is the true one."""

    name: str
    offset: bool

    def holds(self, true: Span, found: Span) -> bool:
        if abs(true.start_s - found.start_s) > TOLERANCE_S:
            return False
        reach_s = max(TOLERANCE_S, OFFSET_SHARE * (true.end_s - true.start_s))
        return not self.offset or abs(true.end_s - found.end_s) <= reach_s


ONSET, BOTH = Criterion("onset", offset=False), Criterion("onset_and_offset", offset=True)


def pair(truth: Sequence[Span], found: Sequence[Span], criterion: Criterion) -> dict[int, int]:
    """The largest one-to-one matching: true span's index to found span's index (Kuhn's augmenting paths)."""
    options = [[j for j, span in enumerate(found) if criterion.holds(true, span)] for true in truth]
    owner: dict[int, int] = {}

    def place(i: int, tried: set[int]) -> bool:
        for j in options[i]:
            if j not in tried:
                tried.add(j)
                if j not in owner or place(owner[j], tried):
                    owner[j] = i
                    return True
        return False

    for i in range(len(truth)):
        place(i, set())
    return {i: j for j, i in owner.items()}


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
