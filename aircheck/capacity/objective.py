"""What must hold for a load to count as carried."""

from __future__ import annotations

import re

from pydantic import BaseModel, ConfigDict

from aircheck.capacity.errors import CapacityError

_FORM = re.compile(r"\s*p(\d\d?)\s*(?:<=?|=|≤)\s*([\d.]+)\s*s(?:\s+at\s+([\d.]+))?\s*")
MAX_GROWTH = 0.1


class Objective(BaseModel):
    """`percentile` of the latency from the intended start is at most `latency_s`, and the queue does not grow.

    at : a load, in audio seconds a second, that must be carried so; None: the highest such load is looked for
    """

    model_config = ConfigDict(frozen=True)

    percentile: int = 95
    latency_s: float = 10.0
    at: float | None = None

    @classmethod
    def parse(cls, text: str) -> Objective:
        """`p95<8s`, or `p95<8s at 15` (audio seconds a second). Raises CapacityError."""
        found = _FORM.fullmatch(text)
        if not found or not float(found[2]):
            raise CapacityError(
                f"objective {text!r}: wants a percentile and seconds, as p95<8s, or p95<8s at 15 for a load of 15 "
                "audio seconds a second"
            )
        return cls(percentile=int(found[1]), latency_s=float(found[2]), at=float(found[3]) if found[3] else None)

    def __str__(self) -> str:
        load = f" at {self.at:g} audio seconds a second" if self.at else ""
        return f"p{self.percentile} from the intended start ≤ {self.latency_s:g} s, queue not growing{load}"
