"""Figures with 95 % intervals, each from a library.

Shares get Wilson's score interval, rates per hour the exact Poisson one, rankings and word error rates a percentile
bootstrap (scipy) with a fixed seed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from sklearn.metrics import average_precision_score, roc_curve

N_RESAMPLES = 200
N_BINS = 10
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Figure:
    """A figure, its interval, and what it rests on."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    hits: float | None = None  # numerator, where the figure is a share or a rate
    of: float | None = None  # its denominator: items, words or hours
    n: int = 0  # items that it rests on


def share(hits: ArrayLike, of: int | None = None) -> Figure:
    """Of items, Wilson's interval: 20 of 20 does not mean 100 %.

    Args:
        hits: of each item, whether it is one, or how many there are of `of`.
    """
    k, n = int(np.sum(hits)), np.size(hits) if of is None else of
    if n == 0:
        return Figure()
    low, high = stats.binomtest(k, n).proportion_ci(method="wilson")
    return Figure(k / n, float(low), float(high), k, n, n)


def rate(hits: pd.Series, durations_s: pd.Series) -> Figure:
    """Events an hour, with the exact Poisson interval (Garwood 1936). Both are one value an item."""
    k, hours = int(hits.sum()), durations_s.sum() / 3600
    if hours == 0:
        return Figure()
    low, high = np.nan_to_num(stats.chi2.ppf([0.025, 0.975], [2 * k, 2 * k + 2])) / 2 / hours
    return Figure(k / hours, float(low), float(high), k, float(hours), len(hits))


def error_rate(errors: pd.Series, words: pd.Series, speakers: pd.Series) -> Figure:
    """Errors over words, one value a recording; resampled by speaker, since their recordings are not independent."""
    n_errors, n_words = float(errors.sum()), float(words.sum())
    if not n_words:
        return Figure()
    sums = tuple(counts.groupby(speakers).sum().to_numpy(float) for counts in (errors, words))
    bounds = _interval(sums, lambda edits, of, axis: edits.sum(axis=axis) / of.sum(axis=axis), paired=True)
    return Figure(n_errors / n_words, *bounds, n_errors, n_words, len(words))


def calibration_error(true: pd.Series, scores: pd.Series) -> Figure:
    """Expected calibration error over ten equal bins (Naeini, Cooper & Hauskrecht, AAAI 2015)."""
    bins = np.minimum((scores * N_BINS).astype(int), N_BINS - 1)
    gaps = np.bincount(bins, scores - true, N_BINS)
    return Figure(float(np.abs(gaps).sum() / len(true)), n=len(true))


def ranking(name: str, true: pd.Series, scores: pd.Series) -> Figure:
    """One of `RANKINGS`, harmful and harmless items resampled apart. Not defined without both."""
    both = scores[true].to_numpy(), scores[~true].to_numpy()
    if not min(map(len, both)):
        return Figure(n=len(true))
    statistic = RANKINGS[name]
    bounds = _interval(both, statistic, n_resamples=N_RESAMPLES, batch=20)
    return Figure(float(statistic(*both)), *bounds, n=len(true))


def _auc(harmful: Array, harmless: Array, axis: int = -1) -> Any:
    """Area under the receiver operating characteristic, which is Mann and Whitney's U over all pairs."""
    pairs = harmful.shape[axis] * harmless.shape[axis]
    return np.asarray(stats.mannwhitneyu(harmful, harmless, axis=axis, method="asymptotic").statistic / pairs)


def _average_precision(harmful: Array, harmless: Array) -> Any:
    """The sum over the precision-recall curve, as scikit-learn defines it."""
    return average_precision_score(*_labelled(harmful, harmless))


def _recall_at(false_positive_rate: float, harmful: Array, harmless: Array) -> Any:
    """The highest recall that lets no more than this share of the harmless items through."""
    false, found, _ = roc_curve(*_labelled(harmful, harmless))
    return found[false <= false_positive_rate + 1e-12].max()


RANKINGS: dict[str, Callable[..., Any]] = {
    "auc": _auc,
    "average_precision": _average_precision,
    "recall_at_1pct_fpr": partial(_recall_at, 0.01),
    "recall_at_5pct_fpr": partial(_recall_at, 0.05),
}
"""Figures of the scores of harmful and of harmless items, whatever the threshold."""


def _labelled(harmful: Array, harmless: Array) -> tuple[Array, Array]:
    return np.repeat([1.0, 0.0], [len(harmful), len(harmless)]), np.concatenate([harmful, harmless])


def _interval(
    samples: tuple[Array, ...], statistic: Callable[..., Any], **options: Any
) -> tuple[float | None, float | None]:
    """The percentile bootstrap's; none where one value is all there is of a sample."""
    if min(map(len, samples)) < 2:
        return None, None
    rng = np.random.default_rng(0)
    found = stats.bootstrap(samples, statistic, method="percentile", rng=rng, **options).confidence_interval
    return float(found.low), float(found.high)
