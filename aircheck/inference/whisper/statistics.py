"""What an engine has done so far, and what it is doing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass
class Tally:
    """What one scheduler has done. Written by its thread alone, read by any.

    n_passes : over windows, answered
    n_tokens : generated, those of attempts that were given up too; prompt and end of text are not counted
    n_fallbacks : attempts at a higher temperature
    queue_s : that passes waited before they were encoded
    compute_s : from then to the answer, in which a pass shares the model with others
    """

    n_passes: int = 0
    n_tokens: int = 0
    n_fallbacks: int = 0
    queue_s: float = 0.0
    compute_s: float = 0.0


@dataclass(frozen=True)
class EngineStatistics:
    """An engine at one moment. All but the first three only grow.

    n_seeks : passes beside the first over a window
    """

    n_slots: int
    n_slots_in_use: int
    n_waiting: int
    n_passes: int
    n_tokens: int
    n_fallbacks: int
    n_seeks: int
    queue_s: float
    compute_s: float

    @classmethod
    def of(
        cls, tallies: Iterable[Tally], *, n_slots: int, n_slots_in_use: int, n_waiting: int, n_seeks: int
    ) -> EngineStatistics:
        every = tuple(tallies)
        return cls(
            n_slots=n_slots,
            n_slots_in_use=n_slots_in_use,
            n_waiting=n_waiting,
            n_passes=sum(tally.n_passes for tally in every),
            n_tokens=sum(tally.n_tokens for tally in every),
            n_fallbacks=sum(tally.n_fallbacks for tally in every),
            n_seeks=n_seeks,
            queue_s=sum(tally.queue_s for tally in every),
            compute_s=sum(tally.compute_s for tally in every),
        )
