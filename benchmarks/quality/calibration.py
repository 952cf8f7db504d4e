"""Whether a score means what it says: of all items scored about 0.7, are about 70 % what the label says?

Expected calibration error over equal bins: Naeini, Cooper & Hauskrecht, "Obtaining Well Calibrated Probabilities Using
Bayesian Binning", AAAI 2015.
"""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict

from benchmarks.quality.intervals import Floats, Measure
from benchmarks.quality.ranking import Bools

BINS = 10


class Bin(BaseModel):
    """Scores of one tenth of the scale: how many, their mean, and the share of them that is true."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    n: int
    score: float
    true: float


class Calibration(BaseModel):
    """Expected calibration error, and the bins that hold anything, by rising score."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    error: Measure
    bins: tuple[Bin, ...]


def calibration(scores: Floats, true: Bools, owner: np.ndarray, drawn: Floats) -> Calibration:
    """Of scores whose truth is known, shape = (scores,); `owner` is the item that each belongs to.

    `drawn` : bootstrap weights of the items, [draws, items]
    """
    if not len(scores):
        return Calibration(error=Measure(), bins=())
    at = np.minimum((scores * BINS).astype(int), BINS - 1)
    columns = []  # per bin, of each item: scores' sum minus truths' sum
    counts = np.zeros(drawn.shape[1])
    np.add.at(counts, owner, 1.0)
    bins = []
    for index in range(BINS):
        inside = at == index
        gap = np.zeros(drawn.shape[1])
        np.add.at(gap, owner[inside], scores[inside] - true[inside])
        columns.append(gap)
        if inside.any():
            bins.append(
                Bin(
                    n=int(inside.sum()),
                    score=round(float(scores[inside].mean()), 6),
                    true=round(float(true[inside].mean()), 6),
                )
            )
    gaps = np.stack(columns, axis=1)  # [items, bins]
    value = float(np.abs(gaps.sum(axis=0)).sum() / len(scores))
    totals = drawn @ counts
    with np.errstate(invalid="ignore", divide="ignore"):
        draws = np.where(totals > 0, np.abs(drawn @ gaps).sum(axis=1) / totals, np.nan)
    return Calibration(error=Measure.of(value, draws, len(scores)), bins=tuple(bins))
