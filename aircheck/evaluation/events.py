"""Which reported spans of an event are its true ones.

After Mesaros, Heittola & Virtanen, "Metrics for polyphonic sound event detection" (Applied Sciences 6(6), 2016), and
their sed_eval: each true span pairs with at most one reported span, by the largest matching. Two criteria: `ONSET`, a
start within 0.5 s, is that of DCASE 2017 for rare sound events (gunshot, breaking glass, a crying baby); `BOTH` also
asks for an end within 0.5 s or half of the true length, whichever is larger, which is sed_eval's default share.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

TOLERANCE_S = 0.5
OFFSET_SHARE = 0.5  # of the true span's length
_ROUNDING_S = 1e-9


class Span(Protocol):
    """Anything with a start and an end, s."""

    @property
    def start_s(self) -> float: ...
    @property
    def end_s(self) -> float: ...


@dataclass(frozen=True)
class Criterion:
    """When a reported span is the true one."""

    name: str
    offset: bool  # whether the ends have to agree too

    def holds(self, true: Span, found: Span) -> bool:
        if abs(true.start_s - found.start_s) > TOLERANCE_S + _ROUNDING_S:
            return False
        reach_s = max(TOLERANCE_S, OFFSET_SHARE * (true.end_s - true.start_s))
        return not self.offset or abs(true.end_s - found.end_s) <= reach_s + _ROUNDING_S


ONSET, BOTH = Criterion("onset", offset=False), Criterion("onset_and_offset", offset=True)


def pair(truth: Sequence[Span], found: Sequence[Span], criterion: Criterion) -> dict[int, int]:
    """The largest one-to-one matching: true span's index to found span's index."""
    if not truth or not found:
        return {}
    holds = csr_array([[criterion.holds(true, span) for span in found] for true in truth])
    matched = maximum_bipartite_matching(holds, perm_type="column")  # [truth], -1 where there is none
    return {i: int(j) for i, j in enumerate(matched) if j >= 0}
