"""What pairs with what."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from aircheck.evaluation.events import BOTH, ONSET, pair


@dataclass(frozen=True)
class Interval:
    start_s: float
    end_s: float


@pytest.mark.parametrize(("shift_s", "agrees"), [(0.0, True), (0.5, True), (-0.5, True), (0.51, False)])
def test_an_onset_may_be_half_a_second_off(shift_s: float, agrees: bool) -> None:
    assert bool(pair([Interval(2.0, 3.0)], [Interval(2.0 + shift_s, 9.0)], ONSET)) == agrees


@pytest.mark.parametrize(
    ("true", "end_s", "agrees"),
    [
        (Interval(2.0, 2.2), 2.7, True),  # half a second
        (Interval(2.0, 2.2), 2.8, False),
        (Interval(2.0, 6.0), 4.0, True),  # half of 4 s
        (Interval(2.0, 6.0), 3.9, False),
        (Interval(10.1, 10.2), 10.7, True),  # 0.5 s is 0.5 s, however it is rounded
    ],
)
def test_an_offset_may_be_half_a_second_or_half_the_length_off(true: Interval, end_s: float, agrees: bool) -> None:
    assert bool(pair([true], [Interval(true.start_s, end_s)], BOTH)) == agrees


def test_ends_that_agree_do_not_make_up_for_starts() -> None:
    assert not pair([Interval(2.0, 6.0)], [Interval(2.6, 6.0)], BOTH)


def test_every_span_is_used_once() -> None:
    truth = [Interval(0.0, 0.2), Interval(0.4, 0.6)]
    assert len(pair(truth, [Interval(0.2, 0.4)], BOTH)) == 1  # near both, but it is one detection
    assert len(pair(truth[:1], [Interval(0.0, 0.1), Interval(0.1, 0.2)], BOTH)) == 1


def test_the_matching_is_the_largest_whatever_the_order() -> None:
    truth = [Interval(2.0, 3.0), Interval(2.6, 3.0)]
    found = [Interval(2.3, 3.0), Interval(1.8, 3.0)]  # the first fits both, the second only the first
    assert pair(truth, found, ONSET) == {0: 1, 1: 0}
    assert pair(truth[::-1], found, ONSET) == {1: 1, 0: 0}
