"""Event scores: what pairs with what, and what is held against a detector."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.acoustic_safety.metrics import BOTH, ONSET, Scores, pair


@dataclass(frozen=True)
class Interval:
    start_s: float
    end_s: float


def scored(truth: list[Interval], found: list[Interval], excused: list[Interval] | None = None) -> Scores:
    scores = Scores()
    scores.add(truth, found, excused or [])
    return scores


@pytest.mark.parametrize(("shift_s", "f1"), [(0.0, 1.0), (0.5, 1.0), (-0.5, 1.0), (0.51, 0.0)])
def test_an_onset_may_be_half_a_second_off(shift_s: float, f1: float) -> None:
    assert scored([Interval(2.0, 3.0)], [Interval(2.0 + shift_s, 9.0)]).f1(ONSET) == f1


def test_an_offset_may_be_half_a_second_or_half_the_length_off() -> None:
    assert scored([Interval(2.0, 2.2)], [Interval(2.0, 2.7)]).f1(BOTH) == 1.0
    assert scored([Interval(2.0, 2.2)], [Interval(2.0, 2.8)]).f1(BOTH) == 0.0
    assert scored([Interval(2.0, 6.0)], [Interval(2.0, 4.0)]).f1(BOTH) == 1.0
    assert scored([Interval(2.0, 6.0)], [Interval(2.0, 3.9)]).f1(BOTH) == 0.0


def test_one_report_cannot_stand_for_two_events_nor_two_reports_for_one() -> None:
    once = scored([Interval(2.0, 3.0), Interval(2.4, 3.0)], [Interval(2.2, 3.0)])
    assert once.f1(ONSET) == pytest.approx(2 / 3)
    assert scored([Interval(2.0, 3.0)], [Interval(2.0, 2.4), Interval(2.4, 3.0)]).f1(ONSET) == pytest.approx(2 / 3)


def test_the_matching_is_the_largest_whatever_the_order() -> None:
    truth = [Interval(2.0, 3.0), Interval(2.6, 3.0)]
    found = [Interval(2.3, 3.0), Interval(1.8, 3.0)]  # the first fits both, the second only the first
    assert pair(truth, found, ONSET) == {0: 1, 1: 0}
    assert scored(truth[::-1], found).f1(ONSET) == 1.0


def test_a_report_on_an_excused_event_costs_nothing_and_earns_nothing() -> None:
    faint = Interval(5.0, 6.0)
    assert scored([Interval(2.0, 3.0)], [Interval(2.0, 3.0), Interval(5.4, 6.2)], [faint]).f1(ONSET) == 1.0
    assert scored([Interval(2.0, 3.0)], [Interval(2.0, 3.0), Interval(7.0, 8.0)], [faint]).f1(ONSET) < 1.0
    assert scored([Interval(2.0, 3.0)], [], [faint]).summary()["onset_recall"] == 0.0


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30))
def test_the_interval_holds_the_score_and_stays_between_nought_and_one(rows: list[tuple[int, int, int]]) -> None:
    scores = Scores()
    for right, missed, false in rows:
        truth = [Interval(10.0 * k, 10.0 * k + 1) for k in range(right + missed)]
        found = truth[:right] + [Interval(500.0 + 10 * k, 501.0 + 10 * k) for k in range(false)]
        scores.add(truth, found)
    low, high = scores.interval(ONSET)
    assert 0.0 <= low <= scores.f1(ONSET) + 1e-9
    assert scores.f1(ONSET) - 1e-9 <= high <= 1.0
