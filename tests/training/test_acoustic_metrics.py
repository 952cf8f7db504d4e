"""Event scores: what is held against a detector."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aircheck.evaluation.events import ONSET
from training.acoustic_safety.metrics import Scores


@dataclass(frozen=True)
class Interval:
    start_s: float
    end_s: float


def scored(truth: list[Interval], found: list[Interval], excused: list[Interval] | None = None) -> Scores:
    scores = Scores()
    scores.add(truth, found, excused or [])
    return scores


def test_one_report_cannot_stand_for_two_events_nor_two_reports_for_one() -> None:
    once = scored([Interval(2.0, 3.0), Interval(2.4, 3.0)], [Interval(2.2, 3.0)])
    assert once.f1(ONSET) == pytest.approx(2 / 3)
    assert scored([Interval(2.0, 3.0)], [Interval(2.0, 2.4), Interval(2.4, 3.0)]).f1(ONSET) == pytest.approx(2 / 3)


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
