"""From probabilities on a time grid to event spans: hysteresis, gap merging, a least length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aircheck_client.schema import EventSpan


@dataclass(frozen=True)
class SpanRule:
    """When a run of frames is an event."""

    onset: float = 0.5  # a span needs at least one frame this probable
    offset: float = 0.3  # and reaches as far as its neighbours stay this probable
    merge_gap_s: float = 0.3  # two spans closer than this are one
    least_s: float = 0.0  # shorter spans are dropped
    edge: float = 0.0  # frames at either end below this share of the run's highest are cut off


def _runs(active: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Half-open frame ranges where `active` holds."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], active, [False]]).astype(np.int8)))
    return [(int(first), int(last)) for first, last in zip(edges[::2], edges[1::2], strict=True)]


def _trimmed(probabilities: NDArray[np.floating], first: int, last: int, edge: float) -> tuple[int, int]:
    """The run from its first frame to its last that reaches `edge` of its highest."""
    high = np.flatnonzero(probabilities[first:last] >= edge * probabilities[first:last].max())
    return first + int(high[0]), first + int(high[-1]) + 1


def frame_ranges(probabilities: NDArray[np.floating], frame_s: float, rule: SpanRule) -> list[tuple[int, int]]:
    """Half-open frame ranges of one event, in order, from its probabilities, shape = (frames,)."""
    runs = [
        _trimmed(probabilities, a, b, rule.edge)
        for a, b in _runs(probabilities >= rule.offset)
        if probabilities[a:b].max() >= rule.onset
    ]
    merged: list[tuple[int, int]] = []
    for first, last in runs:
        if merged and (first - merged[-1][1]) * frame_s < rule.merge_gap_s:
            merged[-1] = (merged[-1][0], last)
        else:
            merged.append((first, last))
    return [(a, b) for a, b in merged if (b - a) * frame_s >= rule.least_s - 1e-9]


def find_spans(
    probabilities: NDArray[np.floating],
    events: Sequence[str],
    frame_s: float,
    duration_s: float,
    rules: Mapping[str, SpanRule],
) -> tuple[EventSpan, ...]:
    """Spans of all events ordered by start, cut at `duration_s`.

    `probabilities`, shape = (frames, events), holds only frames that begin before `duration_s`; an event without a
    rule follows the default one.
    """
    spans = [
        EventSpan(
            event=event,
            start_s=round(first * frame_s, 3),
            end_s=round(min(last * frame_s, duration_s), 3),
            score=float(np.clip(probabilities[first:last, column].max(), 0.0, 1.0)),
        )
        for column, event in enumerate(events)
        for first, last in frame_ranges(probabilities[:, column], frame_s, rules.get(event, SpanRule()))
    ]
    return tuple(sorted(spans, key=lambda span: (span.start_s, span.event)))


def without_rivals(spans: Sequence[EventSpan], rivals: Sequence[str], within_s: float) -> tuple[EventSpan, ...]:
    """The spans less those that begin within `within_s` of a likelier one of another of the `rivals`."""
    return tuple(
        span
        for span in spans
        if span.event not in rivals
        or not any(
            other.event in rivals
            and other.event != span.event
            and abs(other.start_s - span.start_s) <= within_s
            and (other.score, other.event) > (span.score, span.event)
            for other in spans
        )
    )
