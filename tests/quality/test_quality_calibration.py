"""Calibration error is zero for honest scores and the known distance for dishonest ones."""

import numpy as np
import pytest

from benchmarks.quality.calibration import calibration
from benchmarks.quality.intervals import weights


def error(scores, true):
    owner = np.arange(len(scores))
    return calibration(np.asarray(scores), np.asarray(true, bool), owner, weights(len(scores), draws=200))


def test_honest_scores_have_next_to_no_error():
    rng = np.random.default_rng(1)
    scores = rng.random(20_000)
    found = error(scores, rng.random(20_000) < scores)
    assert found.error.value < 0.02
    assert [bin_.true for bin_ in found.bins] == sorted(bin_.true for bin_ in found.bins)


def test_scores_that_promise_too_much_are_off_by_how_much_they_do():
    found = error([0.95] * 100, [True] * 60 + [False] * 40)
    assert found.error.value == pytest.approx(0.35)
    assert found.error.low < 0.35 < found.error.high
    (only,) = found.bins
    assert (only.n, only.score, only.true) == (100, pytest.approx(0.95), pytest.approx(0.6))


def test_the_highest_score_belongs_to_the_last_bin():
    assert error([1.0, 0.05], [True, False]).error.value == pytest.approx(0.025)


def test_errors_in_opposite_directions_do_not_cancel_out():
    found = error([0.25] * 10 + [0.75] * 10, [True] * 10 + [False] * 10)
    assert found.error.value == pytest.approx(0.75)
