"""Curves, average precision and budgets, against scikit-learn and against definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from benchmarks.quality.intervals import weights
from benchmarks.quality.ranking import allowance, at_budget, average_precision, curve, needed_negatives

scored_items = st.lists(
    st.tuples(st.integers(0, 12).map(lambda x: x / 12), st.booleans()), min_size=2, max_size=60
).filter(lambda items: any(true for _, true in items))


@given(scored_items)
def test_average_precision_is_scikit_learns(items):
    scores, true = np.array([s for s, _ in items]), np.array([t for _, t in items])
    measure = average_precision(scores, true, weights(len(items), draws=5))
    assert measure.value == pytest.approx(average_precision_score(true, scores), abs=1e-6)


@given(scored_items)
def test_the_curve_says_what_flagging_from_a_threshold_on_gives(items):
    scores, true = np.array([s for s, _ in items]), np.array([t for _, t in items])
    line = curve(scores, true)
    for threshold, precision, recall in zip(line.thresholds, line.precision, line.recall, strict=True):
        flagged = scores >= threshold
        assert precision == pytest.approx(true[flagged].mean())
        assert recall == pytest.approx(flagged[true].mean())
    assert line.recall[-1] == 1.0
    thin = line.thinned(5)
    assert len(thin.recall) <= len(line.recall)
    assert (thin.recall[0], thin.recall[-1]) == (line.recall[0], line.recall[-1])


@given(
    st.lists(st.integers(0, 20).map(lambda x: x / 20), min_size=1, max_size=200),
    st.lists(st.integers(0, 20).map(lambda x: x / 20), min_size=1, max_size=50),
    st.sampled_from([0.001, 0.01, 0.05, 0.2]),
)
def test_a_budget_is_never_overspent_and_never_left_unspent(clean, positives, budget):
    clean, positives = np.array(clean), np.array(positives)
    found = at_budget(clean, positives, budget, draws=50, seed=1)
    assert (clean > found.threshold).sum() <= budget * len(clean) + 1e-9
    assert found.recall.value == pytest.approx((positives > found.threshold).mean(), abs=1e-6)
    lower = clean[clean < found.threshold]
    if len(lower):  # any lower threshold among the scores would let too many through
        assert (clean > lower.max()).sum() > allowance(len(clean), budget)


def test_the_interval_of_recall_holds_the_thresholds_own_uncertainty():
    rng = np.random.default_rng(3)
    positives = rng.normal(2, 1, 1000)  # so many that their own share of the interval is small
    few = at_budget(rng.normal(0, 1, 100), positives, 0.01, draws=200, seed=1)
    many = at_budget(rng.normal(0, 1, 5_000), positives, 0.01, draws=200, seed=1)
    for budgeted in (few, many):
        share = budgeted.recall.value
        at_a_fixed_threshold = 2 * 1.96 * (share * (1 - share) / len(positives)) ** 0.5  # binomial, 95 %
        assert budgeted.recall.high - budgeted.recall.low > 1.3 * at_a_fixed_threshold


def test_how_many_clean_items_a_budget_needs():
    assert needed_negatives(0.01) == 300  # the rule of three
    assert needed_negatives(0.002) == 1500
    assert allowance(100, 0.29) == 29  # 0.29 * 100 is 28.999… in floating point


def test_nothing_to_rank_gives_nothing():
    assert at_budget(np.zeros(0), np.ones(3), 0.01, 10, 1) is None
    assert average_precision(np.ones(3), np.zeros(3, bool), weights(3, draws=5)).value is None
