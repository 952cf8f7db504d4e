"""What pairs with what."""

from __future__ import annotations

import pytest

from aircheck.evaluation.items import Span
from aircheck.evaluation.table import matching


def span(start_s: float, end_s: float) -> Span:
    return Span(target="gunshot", start_s=start_s, end_s=end_s)


@pytest.mark.parametrize(("shift_s", "agrees"), [(0.0, True), (0.5, True), (-0.5, True), (0.51, False)])
def test_an_onset_may_be_half_a_second_off(shift_s: float, agrees: bool) -> None:
    assert bool(matching([span(2.0, 9.0)], [span(2.0 + shift_s, 9.0)])) == agrees


@pytest.mark.parametrize(
    ("true", "end_s", "agrees"),
    [
        (span(2.0, 2.2), 2.7, True),  # half a second
        (span(2.0, 2.2), 2.8, False),
        (span(2.0, 6.0), 4.0, True),  # half of 4 s
        (span(2.0, 6.0), 3.9, False),
        (span(10.1, 10.2), 10.7, True),  # 0.5 s is 0.5 s, however it is rounded
    ],
)
def test_an_offset_may_be_half_a_second_or_half_the_length_off(true: Span, end_s: float, agrees: bool) -> None:
    assert bool(matching([true], [span(true.start_s, end_s)])) == agrees


def test_ends_that_agree_do_not_make_up_for_starts() -> None:
    assert not matching([span(2.0, 6.0)], [span(2.6, 6.0)])


def test_every_span_is_used_once() -> None:
    truth = [span(0.0, 0.2), span(0.4, 0.6)]
    assert len(matching(truth, [span(0.2, 0.4)])) == 1  # near both, but it is one detection
    assert len(matching(truth[:1], [span(0.0, 0.1), span(0.1, 0.2)])) == 1
    assert matching(truth, []) == matching([], truth) == {}


def test_the_matching_is_the_largest_whatever_the_order() -> None:
    truth = [span(2.0, 3.0), span(2.6, 3.0)]
    found = [span(2.3, 3.0), span(1.8, 3.0)]  # the first fits both, the second only the first
    assert matching(truth, found) == {0: 1, 1: 0}
    assert matching(truth[::-1], found) == {1: 1, 0: 0}
