"""Where something was found against where it is: spans of time and their overlap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Span:
    start_s: float
    end_s: float


def joined(spans: Sequence[Span], gap_s: float = 0.0) -> list[Span]:
    """In order, those that overlap or lie within `gap_s` as one."""
    whole: list[Span] = []
    for span in sorted(spans):
        if whole and span.start_s - whole[-1].end_s <= gap_s:
            whole[-1] = Span(whole[-1].start_s, max(whole[-1].end_s, span.end_s))
        else:
            whole.append(span)
    return whole


def overlap(found: Sequence[Span], true: Sequence[Span]) -> float:
    """Intersection over union of the time that both cover; 0 when neither covers any."""
    found, true = joined(found), joined(true)
    both = sum(max(0.0, min(a.end_s, b.end_s) - max(a.start_s, b.start_s)) for a in found for b in true)
    either = sum(span.end_s - span.start_s for span in joined([*found, *true]))
    return both / either if either > 0 else 0.0
