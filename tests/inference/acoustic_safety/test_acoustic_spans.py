"""Spans from probabilities: what must hold for any curve, and the rules one by one."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from aircheck.inference.acoustic_safety.spans import SpanRule, find_spans, without_rivals
from aircheck_client.schema import EventSpan

FRAME_S = 0.1


def spans_of(values: list[float], rule: SpanRule, duration_s: float | None = None) -> tuple[EventSpan, ...]:
    column = np.array(values, dtype=np.float32)[:, None]
    return find_spans(column, ["siren"], FRAME_S, duration_s or len(values) * FRAME_S, {"siren": rule})


def test_a_span_begins_and_ends_where_hysteresis_says() -> None:
    (span,) = spans_of([0.1, 0.4, 0.9, 0.4, 0.1, 0.4, 0.1], SpanRule(onset=0.5, offset=0.3, merge_gap_s=0))
    assert (span.start_s, span.end_s) == (0.1, 0.4)
    assert np.isclose(span.score, 0.9)


def test_the_edges_of_a_bang_are_cut_where_they_fall_below_a_share_of_its_height() -> None:
    (span,) = spans_of([0.4, 0.6, 0.9, 0.3, 0.8, 0.4], SpanRule(onset=0.5, offset=0.3, edge=0.75))
    assert (span.start_s, span.end_s) == (0.2, 0.5)  # the dip inside stays


def test_nothing_below_the_onset_is_a_span() -> None:
    assert spans_of([0.49] * 20, SpanRule(onset=0.5, offset=0.1)) == ()


def test_close_spans_merge_and_distant_ones_stay_apart() -> None:
    values = [0.9, 0, 0, 0.9, 0, 0, 0, 0, 0.9]
    found = spans_of(values, SpanRule(merge_gap_s=0.35))
    assert [(span.start_s, span.end_s) for span in found] == [(0.0, 0.4), (0.8, 0.9)]


def test_spans_shorter_than_the_least_length_are_dropped() -> None:
    found = spans_of([0.9, 0, 0, 0.9, 0.9], SpanRule(merge_gap_s=0, least_s=0.2))
    assert [(span.start_s, span.end_s) for span in found] == [(0.3, 0.5)]


def test_a_span_is_cut_at_the_end_of_the_audio() -> None:
    (span,) = spans_of([0.9, 0.9, 0.9], SpanRule(), duration_s=0.25)
    assert span.end_s == 0.25


@given(
    st.lists(st.floats(0, 1, width=32), min_size=1, max_size=60),
    st.floats(0.05, 0.95),
    st.floats(0.1, 1.0),
    st.floats(0, 0.5),
)
def test_spans_are_ordered_apart_inside_the_audio_and_cover_every_onset(
    values: list[float], onset: float, ratio: float, gap_s: float
) -> None:
    rule = SpanRule(onset=onset, offset=onset * ratio, merge_gap_s=gap_s)
    found = spans_of(values, rule)
    for span in found:
        assert 0 <= span.start_s < span.end_s <= len(values) * FRAME_S + 1e-6
        assert span.score >= np.float32(onset)
    for before, after in pairwise(found):
        assert after.start_s - before.end_s >= gap_s - 1e-6
        assert after.start_s > before.end_s
    for index, value in enumerate(np.array(values, dtype=np.float32)):
        if value >= onset:
            assert any(span.start_s <= index * FRAME_S + 1e-6 < span.end_s for span in found)


def event(name: str, start_s: float, score: float) -> EventSpan:
    return EventSpan(event=name, start_s=start_s, end_s=start_s + 1.0, score=score)


def test_of_two_rivals_that_begin_together_the_likelier_stays() -> None:
    shot, blast = event("gunshot", 2.0, 0.9), event("explosion", 2.3, 0.7)
    assert without_rivals((shot, blast), ("gunshot", "explosion"), 0.5) == (shot,)
    louder = event("explosion", 2.3, 0.95)
    assert without_rivals((shot, louder), ("gunshot", "explosion"), 0.5) == (louder,)


def test_rivals_apart_repeats_and_other_events_stay() -> None:
    spans = (
        event("gunshot", 2.0, 0.9),
        event("gunshot", 2.1, 0.6),
        event("explosion", 2.7, 0.7),
        event("siren", 2, 0.5),
    )
    assert without_rivals(spans, ("gunshot", "explosion"), 0.5) == spans


def test_rivals_of_equal_score_leave_exactly_one() -> None:
    spans = (event("gunshot", 2.0, 0.8), event("explosion", 2.0, 0.8))
    assert len(without_rivals(spans, ("gunshot", "explosion"), 0.5)) == 1
