"""Figures with 95 % intervals: item-level bootstrap with a fixed seed.

Items are drawn with replacement and every figure is computed on each draw (Efron & Tibshirani, "An Introduction to the
Bootstrap", 1993, ch. 13: percentile interval). A share whose items all agree has nothing to resample, so it gets
Wilson's score interval instead (Wilson, "Probable inference", JASA 22, 1927): 20 right of 20 does not mean 100 %.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

DRAWS = 1000
SEED = 20251
_Z = 1.959964  # 95 %

Floats = NDArray[np.float64]


class Measure(BaseModel):
    """A figure, its 95 % interval, and the number of things that it rests on; all None where there were none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0

    @classmethod
    def of(cls, value: float, draws: Floats, n: int) -> Measure:
        """A figure and its values on the draws; draws on which it is not defined (NaN) are left out.

        Draws that all agree say nothing about the uncertainty: then there is no interval.
        """
        if not math.isfinite(value):
            return cls(n=n)
        defined = draws[np.isfinite(draws)]
        low, high = np.percentile(defined, [2.5, 97.5]) if len(defined) else (value, value)
        if high - low < 1e-9:
            return cls(value=_rounded(value), n=n)
        return cls(value=_rounded(value), low=_rounded(low), high=_rounded(high), n=n)


def weights(items: int, draws: int = DRAWS, seed: int = SEED) -> Floats:
    """How often each item stands in each draw, [draws, items]; a row sums to `items`."""
    if items == 0:
        return np.zeros((draws, 0))
    rng = np.random.default_rng(seed)
    return rng.multinomial(items, np.full(items, 1 / items), size=draws).astype(np.float64)


def ratio_draws(numerators: Floats, denominators: Floats, drawn: Floats) -> Floats:
    """Sum over sum on each draw; NaN where the denominator is 0. Shapes as in `ratio`."""
    below = drawn @ denominators
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(below > 0, (drawn @ numerators) / below, np.nan)


def ratio(numerators: Floats, denominators: Floats, drawn: Floats) -> Measure:
    """Sum over sum, both of one value an item, shape = (items,); `drawn` as `weights` gives it."""
    count, total = float(denominators.sum()), float(numerators.sum())
    if count == 0:
        return Measure()
    measure = Measure.of(total / count, ratio_draws(numerators, denominators, drawn), round(count))
    if measure.low is None and total in (0.0, count):
        return wilson(round(total), round(count))
    return measure


def wilson(successes: int, n: int) -> Measure:
    """A share with Wilson's score interval."""
    if n == 0:
        return Measure()
    share = successes / n
    centre = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z * math.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2)) / (1 + _Z**2 / n)
    return Measure(
        value=_rounded(share), low=_rounded(max(0.0, centre - half)), high=_rounded(min(1.0, centre + half)), n=n
    )


def mean(values: Floats, drawn: Floats) -> Measure:
    """The mean of one value an item."""
    return ratio(values, np.ones(len(values)), drawn) if len(values) else Measure()


def _rounded(value: float) -> float:
    return round(float(value), 6)
