"""How the rate of arrivals changes while a load lasts, and Poisson arrivals at such a rate."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aircheck.load.errors import LoadError

MAX_CALLS = 100_000
_FORMS = (
    "steady (also to soak), step:0.5,1,2 (calls a second, equal parts of the time), spike:4@20+10 (4 times the rate "
    "from 20 s on for 10 s), replay:arrivals.csv (at_s,kind,audio_s)"
)


@dataclass(frozen=True)
class Stage:
    """A stretch of time with one rate."""

    duration_s: float
    calls_per_s: float


def parse_shape(text: str, calls_per_s: float, seconds: float) -> tuple[Stage, ...]:
    """The stages of a shape that lasts `seconds`. Raises LoadError."""
    kind, _, rest = text.partition(":")
    try:
        if kind == "steady" and not rest:
            return (Stage(seconds, calls_per_s),)
        if kind == "step":
            rates = [float(part) for part in rest.split(",")]
            if min(rates) >= 0:
                return tuple(Stage(seconds / len(rates), rate) for rate in rates)
        if kind == "spike" and (found := re.fullmatch(r"([\d.]+)@([\d.]+)\+([\d.]+)", rest)):
            times, start_s, lasts_s = (float(part) for part in found.groups())
            after_s = seconds - start_s - lasts_s
            if after_s < 0:
                raise LoadError(f"shape {text!r}: ends after the load's {seconds:g} s; give a longer --seconds")
            return (
                Stage(start_s, calls_per_s),
                Stage(lasts_s, times * calls_per_s),
                Stage(after_s, calls_per_s),
            )
    except LoadError:
        raise
    except ValueError:
        pass
    raise LoadError(f"shape {text!r}: is none of {_FORMS}")


def poisson_times_s(stages: Sequence[Stage], generator: np.random.Generator) -> np.ndarray:
    """Arrival times, fp64 [arrivals], of a Poisson process whose rate is that of the stages, given their number.

    Given how many there are, the arrivals of a Poisson process lie like as many independent uniform draws (Çinlar 1975,
    section 4.3); they are put through the inverse of the rate's integral. The number is the expected one, so that a
    load is what was asked for also where it is short. Raises LoadError for more than MAX_CALLS.
    """
    ends_s = np.cumsum([0.0, *(stage.duration_s for stage in stages)])
    expected = np.cumsum([0.0, *(stage.duration_s * stage.calls_per_s for stage in stages)])
    if expected[-1] > MAX_CALLS:
        raise LoadError(f"the load would be {expected[-1]:.0f} calls, at most {MAX_CALLS}; lower --rate or --seconds")
    number = max(1, round(expected[-1])) if expected[-1] else 0
    units = np.sort(generator.uniform(0, expected[-1], size=number))
    part = np.searchsorted(expected, units, side="right") - 1
    rates = np.array([stage.calls_per_s for stage in stages])[part]
    return np.asarray(ends_s[part] + (units - expected[part]) / rates)
