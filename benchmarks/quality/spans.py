"""Where something was found against where it is: temporal overlap, and event F1 within a tolerance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

TOLERANCE_S = 0.5
OFFSET_SHARE = 0.2  # of a true span's length, where that is longer than the tolerance


@dataclass(frozen=True, order=True)
class Span:
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Matches:
    """Of one item and one event: true spans, found spans, and pairs of the two that agree, each used once."""

    true: int
    found: int
    matched: int
    onset_matched: int  # by their starts alone


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


def match(found: Sequence[Span], true: Sequence[Span]) -> Matches:
    """Event-based matching as in DCASE's sound event detection (Mesaros, Heittola & Virtanen, "Metrics for Polyphonic
    Sound Event Detection", Applied Sciences 6(6), 2016): a start within TOLERANCE_S of the true one, and an end within
    that or OFFSET_SHARE of the true length, whichever is longer.
    """

    def onset(there: Span, here: Span) -> bool:
        return abs(there.start_s - here.start_s) <= TOLERANCE_S + 1e-9

    def both(there: Span, here: Span) -> bool:
        reach_s = max(TOLERANCE_S, OFFSET_SHARE * (there.end_s - there.start_s))
        return onset(there, here) and abs(there.end_s - here.end_s) <= reach_s + 1e-9

    counts = []
    for agree in (both, onset):
        pairs = [[j for j, here in enumerate(found) if agree(there, here)] for there in true]
        counts.append(_most_pairs(pairs))
    return Matches(true=len(true), found=len(found), matched=counts[0], onset_matched=counts[1])


def _most_pairs(candidates: Sequence[Sequence[int]]) -> int:
    """The most pairs that use every span once (augmenting paths; Kuhn 1955)."""
    taken: dict[int, int] = {}

    def place(row: int, seen: set[int]) -> bool:
        for column in candidates[row]:
            if column not in seen:
                seen.add(column)
                if column not in taken or place(taken[column], seen):
                    taken[column] = row
                    return True
        return False

    return sum(place(row, set()) for row in range(len(candidates)))
