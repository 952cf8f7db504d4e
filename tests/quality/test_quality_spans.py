"""Places: overlap in time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.quality.spans import Span, joined, overlap

spans = st.lists(
    st.tuples(st.integers(0, 100), st.integers(1, 30)).map(lambda x: Span(x[0] / 10, (x[0] + x[1]) / 10)),
    min_size=1,
    max_size=6,
)


@pytest.mark.parametrize(
    ("found", "true", "iou"),
    [
        ([Span(0, 2)], [Span(0, 2)], 1.0),
        ([Span(0, 2)], [Span(1, 3)], 1 / 3),
        ([Span(0, 1)], [Span(2, 3)], 0.0),
        ([Span(0, 1), Span(0.5, 2)], [Span(0, 2)], 1.0),  # two findings that overlap cover the time once
        ([Span(0, 10)], [Span(1, 2), Span(4, 5)], 0.2),
    ],
)
def test_overlap_is_shared_time_over_all_time(found, true, iou):
    assert overlap(found, true) == pytest.approx(iou)


@given(spans, spans)
def test_overlap_does_not_care_which_is_which(a, b):
    assert overlap(a, b) == pytest.approx(overlap(b, a))
    assert 0.0 <= overlap(a, b) <= 1.0 + 1e-9
    assert overlap(a, a) == pytest.approx(1.0)


def test_neighbours_within_the_gap_are_one():
    assert joined([Span(3, 4), Span(0, 1), Span(1.9, 2.5)], gap_s=1.0) == [Span(0, 4)]
    assert joined([Span(0, 1), Span(1.1, 2)]) == [Span(0, 1), Span(1.1, 2)]
