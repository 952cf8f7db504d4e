"""Intervals hold what they should, as often as they should."""

import numpy as np
import pytest

from benchmarks.quality.intervals import Measure, ratio, weights, wilson


def test_a_share_is_inside_its_interval_and_repeatable():
    hits = np.array([1.0] * 30 + [0.0] * 70)
    measure = ratio(hits, np.ones(100), weights(100))
    assert measure == ratio(hits, np.ones(100), weights(100))
    assert measure.value == 0.3
    assert (measure.low, measure.high) == (pytest.approx(0.21, abs=0.02), pytest.approx(0.39, abs=0.02))  # ± 1.96 σ
    assert measure.n == 100


def test_the_interval_covers_the_truth_about_95_times_in_100():
    rng = np.random.default_rng(1)
    drawn = weights(60, draws=400)
    covered = 0
    for _ in range(300):
        measure = ratio((rng.random(60) < 0.4).astype(float), np.ones(60), drawn)
        covered += measure.low <= 0.4 <= measure.high
    assert 0.89 <= covered / 300 <= 0.99


def test_items_that_all_agree_still_leave_doubt():
    measure = ratio(np.ones(20), np.ones(20), weights(20))
    assert measure.value == 1.0
    assert measure.low == pytest.approx(0.839, abs=0.001)  # Wilson 1927 for 20 of 20
    assert measure.high == 1.0


def test_wilson_gives_the_published_value():
    measure = wilson(81, 263)  # Newcombe, Statistics in Medicine 17 (1998), table I: 0.2553 to 0.3662
    assert (measure.low, measure.high) == (pytest.approx(0.2553, abs=1e-4), pytest.approx(0.3662, abs=1e-4))


def test_nothing_to_count_is_no_figure():
    assert ratio(np.zeros(5), np.zeros(5), weights(5)) == Measure()
    assert ratio(np.zeros(0), np.zeros(0), weights(0)) == Measure()
