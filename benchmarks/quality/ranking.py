"""What scores are worth at any threshold: precision-recall curves, average precision, recall within a false-positive
budget.

Positives are items labelled with the category. Two kinds of other items are told apart: *clean* ones, labelled with
nothing of its kind, which alone count for false-positive rates (a threat that is also flagged as harassment is no
innocent item flagged); and all others, which precision counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality.intervals import Floats, Measure, wilson

CURVE_POINTS = 80
_CHUNK = 100  # draws at a time, to bound memory

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Curve:
    """Precision and recall from the highest threshold to the lowest, shape = (thresholds,)."""

    thresholds: Floats
    precision: Floats
    recall: Floats

    def thinned(self, points: int = CURVE_POINTS) -> Curve:
        """At most about `points` of them, evenly spread over recall, the ends kept."""
        if len(self.thresholds) <= points:
            return self
        wanted = np.searchsorted(self.recall, np.linspace(self.recall[0], self.recall[-1], points))
        keep = np.unique(np.concatenate([[0], np.minimum(wanted, len(self.recall) - 1), [len(self.recall) - 1]]))
        return Curve(self.thresholds[keep], self.precision[keep], self.recall[keep])


def curve(scores: Floats, positive: Bools) -> Curve:
    """At every distinct score, flagging all items at or above it; empty without positives."""
    if not positive.any():
        return Curve(np.empty(0), np.empty(0), np.empty(0))
    order = np.argsort(-scores, kind="stable")
    ranked, true = scores[order], positive[order].astype(float)
    last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)  # the last item of each distinct score
    found = np.cumsum(true)[last]
    return Curve(ranked[last], found / (last + 1), found / true.sum())


def average_precision(scores: Floats, positive: Bools, drawn: Floats) -> Measure:
    """Σ (Rₙ − Rₙ₋₁) Pₙ over the distinct scores: the definition of scikit-learn's `average_precision_score`.

    `drawn` : bootstrap weights, [draws, items]
    """
    n = int(positive.sum())
    if n == 0:
        return Measure()
    order = np.argsort(-scores, kind="stable")
    ranked, true = scores[order], positive[order].astype(float)
    last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)

    def value(rows: Floats) -> Floats:  # [draws, items] of ranked weights
        found = np.cumsum(rows * true, axis=1)[:, last]
        flagged = np.cumsum(rows, axis=1)[:, last]
        precision = np.divide(found, flagged, out=np.zeros_like(found), where=flagged > 0)
        total = found[:, -1]
        steps = np.diff(found, axis=1, prepend=0.0)
        with np.errstate(invalid="ignore"):
            return np.asarray((steps * precision).sum(axis=1) / total)

    draws = [value(drawn[first : first + _CHUNK, order]) for first in range(0, len(drawn), _CHUNK)]
    return Measure.of(float(value(np.ones((1, len(ranked))))[0]), np.concatenate(draws), n)


@dataclass(frozen=True)
class Budgeted:
    """The lowest threshold that keeps a false-positive budget, and what it finds.

    threshold : flag what scores *above* it
    allowed : how many of the clean items the budget lets through
    """

    threshold: float
    threshold_interval: tuple[float, float]
    recall: Measure
    false_positive_rate: float
    allowed: int


def at_budget(clean: Floats, positives: Floats, budget: float, draws: int, seed: int) -> Budgeted | None:
    """Recall within a false-positive `budget` (a share of the clean items); None without clean items or positives.

    clean, positives : scores, shape = (items,)
    Clean items and positives are drawn apart, so the interval holds the threshold's own uncertainty too.
    """
    if not len(clean) or not len(positives):
        return None
    rng = np.random.default_rng(seed)
    ranked = np.sort(clean)[::-1]
    allowed = allowance(len(clean), budget)
    threshold = ranked[allowed]
    of_clean = rng.multinomial(len(clean), np.full(len(clean), 1 / len(clean)), size=draws)
    over = np.cumsum(of_clean, axis=1) > allowed  # [draws, clean]: where a draw's budget is spent
    thresholds = ranked[np.argmax(over, axis=1)]
    of_positive = rng.multinomial(len(positives), np.full(len(positives), 1 / len(positives)), size=draws)
    recalls = (of_positive * (positives[None] > thresholds[:, None])).sum(axis=1) / len(positives)
    found = int((positives > threshold).sum())
    recall = Measure.of(found / len(positives), recalls, len(positives))
    if recall.low is None and found in (0, len(positives)):
        recall = wilson(found, len(positives))
    low, high = np.percentile(thresholds, [2.5, 97.5])
    return Budgeted(
        threshold=float(threshold),
        threshold_interval=(float(low), float(high)),
        recall=recall,
        false_positive_rate=float((clean > threshold).mean()),
        allowed=allowed,
    )


def allowance(clean: int, budget: float) -> int:
    """How many of so many clean items may be flagged; the tiny term undoes 0.29 * 100 = 28.999…"""
    return min(math.floor(budget * clean + 1e-9), clean - 1)


def needed_negatives(budget: float) -> int:
    """How many clean items can vouch for a budget: with none of n flagged, the rate is below 3/n at 95 %.

    Hanley & Lippman-Hand, "If nothing goes wrong, is everything all right?", JAMA 249, 1983.
    """
    return math.ceil(3 / budget - 1e-9)
