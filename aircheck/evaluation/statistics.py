"""Figures with 95 % intervals, each from a library.

Shares get Wilson's score interval, rates per hour the exact Poisson one, rankings and word error rates a percentile
bootstrap (scipy) with a fixed seed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from sklearn.metrics import average_precision_score, roc_curve

N_RESAMPLES = 200
N_BINS = 10
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Figure:
    """A figure, its interval, and what it rests on.

    Attributes:
        hits: numerator, where the figure is a share or a rate; `of`: its denominator (items, words, hours).
        n: items that it rests on.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    hits: float | None = None
    of: float | None = None
    n: int = 0


def share(hits: int, of: int) -> Figure:
    """Of items, Wilson's interval: 20 of 20 does not mean 100 %."""
    if of == 0:
        return Figure()
    low, high = stats.binomtest(hits, of).proportion_ci(method="wilson")
    return Figure(hits / of, float(low), float(high), hits, of, of)


def rate(hits: int, hours: float, n: int) -> Figure:
    """Events an hour, with the exact Poisson interval (Garwood 1936)."""
    if hours == 0:
        return Figure()
    low = stats.chi2.ppf(0.025, 2 * hits) / 2 if hits else 0.0
    high = stats.chi2.ppf(0.975, 2 * hits + 2) / 2
    return Figure(hits / hours, float(low) / hours, float(high) / hours, hits, hours, n)


def error_rate(errors: Array, words: Array, speakers: NDArray[np.str_]) -> Figure:
    """Errors over words, one value a recording; resampled by speaker, since their recordings are not independent."""
    if not words.sum():
        return Figure()
    _, owner = np.unique(speakers, return_inverse=True)
    sums = np.bincount(owner, errors), np.bincount(owner, words)
    value, total = float(errors.sum() / words.sum()), float(words.sum())
    if len(sums[0]) < 2:
        return Figure(value, None, None, float(errors.sum()), total, len(words))
    interval = _interval(
        sums,
        lambda edits, of, axis: edits.sum(axis=axis) / of.sum(axis=axis),
        paired=True,
        vectorized=True,
    )
    return Figure(value, *interval, float(errors.sum()), total, len(words))


def auc(truth: Array, scores: Array) -> Figure:
    """Area under the receiver operating characteristic, which is Mann and Whitney's U over all pairs."""

    def statistic(harmful: Array, harmless: Array, axis: int = -1) -> Array:
        pairs = harmful.shape[axis] * harmless.shape[axis]
        return np.asarray(stats.mannwhitneyu(harmful, harmless, axis=axis, method="asymptotic").statistic / pairs)

    return _ranking(truth, scores, statistic, vectorized=True)


def average_precision(truth: Array, scores: Array) -> Figure:
    """The sum over the precision-recall curve, as scikit-learn defines it."""
    return _ranking(truth, scores, lambda *both: average_precision_score(*_labelled(*both)))


def recall_at(truth: Array, scores: Array, false_positive_rate: float) -> Figure:
    """The highest recall that lets no more than this share of the negatives through."""

    def statistic(harmful: Array, harmless: Array) -> float:
        false, found, _ = roc_curve(*_labelled(harmful, harmless))
        return float(found[false <= false_positive_rate + 1e-12].max())

    return _ranking(truth, scores, statistic)


def calibration_error(truth: Array, scores: Array) -> Figure:
    """Expected calibration error over ten equal bins (Naeini, Cooper & Hauskrecht, AAAI 2015)."""
    if not len(truth):
        return Figure()
    bins = np.minimum((scores * N_BINS).astype(int), N_BINS - 1)
    gaps = np.bincount(bins, scores - truth, N_BINS)
    return Figure(float(np.abs(gaps).sum() / len(truth)), n=len(truth))


def _labelled(harmful: Array, harmless: Array) -> tuple[Array, Array]:
    return np.repeat([1.0, 0.0], [len(harmful), len(harmless)]), np.concatenate([harmful, harmless])


def _ranking(truth: Array, scores: Array, statistic: Callable[..., Any], vectorized: bool = False) -> Figure:
    """Not defined without both truths; they are resampled apart. No interval where one item is all there is of one."""
    both = scores[truth == 1], scores[truth == 0]
    if not min(map(len, both)):
        return Figure(n=len(truth))
    value = float(statistic(*both))
    if min(map(len, both)) < 2:
        return Figure(value, n=len(truth))
    interval = _interval(both, statistic, vectorized=vectorized, n_resamples=N_RESAMPLES, batch=20)
    return Figure(value, *interval, n=len(truth))


def _interval(samples: tuple[Any, ...], statistic: Callable[..., Any], **options: Any) -> tuple[float, float]:
    """The percentile bootstrap's."""
    found = stats.bootstrap(
        samples, statistic, method="percentile", rng=np.random.default_rng(0), **options
    ).confidence_interval
    return float(found.low), float(found.high)
