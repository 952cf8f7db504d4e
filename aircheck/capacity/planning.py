"""Hours a month to machines and money, from what one machine was measured to carry.

A machine that carries K audio seconds a second gets through K audio hours an hour.
"""

from __future__ import annotations

import math
import re
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from aircheck.capacity.errors import CapacityError
from aircheck.capacity.objective import Objective
from aircheck.capacity.profile import Profile
from aircheck.capacity.queueing import ServerModel, simulate

HOURS = {"hour": 1.0, "day": 24.0, "week": 168.0, "month": 8766 / 12, "year": 8766.0}
_DEMAND = re.compile(r"([\d.,_]+)\s*h\s*(?:/|per )\s*(hour|day|week|month|year)")
_BACKLOG = re.compile(r"([\d.,_]+)\s*h\s+in\s+([\d.]+)\s*d")
_SIMULATED_WINDOWS = 400  # of each server
_MOST_SIMULATED = 50_000
MAX_MACHINES = 1_000_000


class Assumptions(BaseModel):
    """headroom : the share of what a machine carries that is kept free
    spare : replicas that may be lost without the rest being overloaded
    peak : the busiest hour over the mean hour
    price : of a machine hour, in any currency; None: unknown
    """

    model_config = ConfigDict(frozen=True)

    headroom: float = 0.3
    spare: int = 1
    peak: float = 2.0
    price: float | None = None


class Plan(BaseModel):
    """For a steady demand. Costs are in the price's currency.

    audio_hours_per_machine_hour : planned, headroom taken off
    machines : at the peak, spare included; mean_machines : what an autoscaler would run on average, spare included
    simulated_s : the objective's percentile at the peak, by the simulation; lost: with `spare` fewer machines
    """

    model_config = ConfigDict(frozen=True)

    demand: str
    audio_hours_per_hour: float
    peak_audio_hours_per_hour: float
    audio_hours_per_machine_hour: float
    machines: int
    mean_machines: float
    machine_hours_per_1000_hours: float
    cost_per_month: float | None
    cost_per_1000_hours: float | None
    cost_per_1000_hours_scaled: float | None
    simulated_s: float
    simulated_lost_s: float
    simulated_burst_s: float
    objective: Objective
    assumptions: Assumptions

    @property
    def is_missed(self) -> bool:
        """Whether the simulated fleet misses the objective at the peak, replicas lost."""
        return self.simulated_lost_s > self.objective.latency_s


class Backlog(BaseModel):
    """For a catalogue that is to be done in a time; no spare: a lost machine is only a delay."""

    model_config = ConfigDict(frozen=True)

    backlog: str
    audio_hours: float
    days: float
    audio_hours_per_machine_hour: float
    machines: int
    machine_hours_per_1000_hours: float
    cost: float | None
    cost_per_1000_hours: float | None
    assumptions: Assumptions


def plan(profile: Profile, demand: str, assumptions: Assumptions) -> Plan:
    """The demand is such as `2000000h/month`. Raises CapacityError."""
    found = _DEMAND.fullmatch(demand.strip())
    if not found:
        raise CapacityError(f"plan {demand!r}: wants audio hours in a time, as 2000000h/month, 500h/day")
    mean = _number(found[1]) / HOURS[found[2]]
    carried = _carried(profile.knee.load, assumptions)
    peak = mean * assumptions.peak
    working = _machines(peak / carried)
    machines = working + assumptions.spare
    mean_machines = max(mean / carried, 1.0) + assumptions.spare
    return Plan(
        demand=demand,
        audio_hours_per_hour=round(mean, 2),
        peak_audio_hours_per_hour=round(peak, 2),
        audio_hours_per_machine_hour=round(carried, 3),
        machines=machines,
        mean_machines=round(mean_machines, 1),
        machine_hours_per_1000_hours=round(1000 * machines / mean, 2),
        cost_per_month=_cost(machines * HOURS["month"], assumptions),
        cost_per_1000_hours=_cost(1000 * machines / mean, assumptions),
        cost_per_1000_hours_scaled=_cost(1000 * mean_machines / mean, assumptions),
        simulated_s=_simulated_s(profile, peak, machines, "steady"),
        simulated_lost_s=_simulated_s(profile, peak, working, "steady"),
        simulated_burst_s=_simulated_s(profile, peak, machines, "burst"),
        objective=profile.objective,
        assumptions=assumptions,
    )


def backlog(profile: Profile, text: str, assumptions: Assumptions) -> Backlog:
    """The text is such as `500000h in 30d`. Counts on what a machine takes at most, since nobody waits. Raises
    CapacityError.
    """
    found = _BACKLOG.fullmatch(text.strip())
    if not found or not float(found[2]):
        raise CapacityError(f"backlog {text!r}: wants audio hours in days, as '500000h in 30d'")
    hours, days = _number(found[1]), float(found[2])
    carried = _carried(profile.knee.saturated, assumptions)
    machines = _machines(hours / (24 * days) / carried)
    return Backlog(
        backlog=text,
        audio_hours=hours,
        days=days,
        audio_hours_per_machine_hour=round(carried, 3),
        machines=machines,
        machine_hours_per_1000_hours=round(1000 / carried, 2),
        cost=_cost(hours / carried, assumptions),
        cost_per_1000_hours=_cost(1000 / carried, assumptions),
        assumptions=assumptions,
    )


BURST_TIMES, BURST_S = 3.0, 60.0


def _simulated_s(profile: Profile, load: float, machines: int, kind: Literal["steady", "burst"]) -> float:
    """The objective's percentile, at `load` audio seconds a second on so many machines, callers balanced at random.

    burst : of the windows that come while the rate is three times as high, for a minute
    """
    model = ServerModel.of_profile(profile)
    servers = min(machines, _MOST_SIMULATED // _SIMULATED_WINDOWS)  # a large fleet is as many small ones
    rate = load * servers / machines / profile.mean_clip_s
    generator = np.random.default_rng(0)
    number = _SIMULATED_WINDOWS * servers
    lasts_s = number / rate
    times_s = np.sort(generator.uniform(0, lasts_s, number))
    in_burst = np.zeros(number, bool)
    if kind == "burst":
        start_s = lasts_s / 2
        extra = generator.uniform(start_s, start_s + BURST_S, round(rate * (BURST_TIMES - 1) * BURST_S))
        times_s = np.sort(np.concatenate((times_s, extra)))
        in_burst = (times_s >= start_s) & (times_s < start_s + BURST_S)
    found = simulate(model, times_s, np.full(len(times_s), profile.mean_clip_s), servers, "random")
    chosen = found.latencies_s[in_burst] if kind == "burst" and in_burst.any() else found.latencies_s
    return round(float(np.percentile(chosen, profile.objective.percentile)), 2)


def _carried(load: float, assumptions: Assumptions) -> float:
    carried = load * (1 - assumptions.headroom)
    if carried <= 0:
        raise CapacityError(
            "the profile's machine keeps its objective at no load; measure with a longer one, as --objective p95<20s"
        )
    return carried


def _machines(exact: float) -> int:
    if exact > MAX_MACHINES:
        raise CapacityError(f"{exact:.0f} machines: this is no machine for such a demand")
    return max(1, math.ceil(exact - 1e-9))


def _cost(machine_hours: float, assumptions: Assumptions) -> float | None:
    return None if assumptions.price is None else round(machine_hours * assumptions.price, 2)


def _number(text: str) -> float:
    try:
        value = float(text.replace(",", "").replace("_", ""))
    except ValueError:
        value = 0.0
    if value <= 0:
        raise CapacityError(f"{text!r} is no number of hours")
    return value


def told(made: Plan) -> str:
    """The plan as text."""
    assumptions = made.assumptions
    lines = [
        f"{made.demand}: {made.audio_hours_per_hour:,.0f} audio hours an hour, {made.peak_audio_hours_per_hour:,.0f} "
        f"at the peak ({assumptions.peak:g} times the mean)",
        f"  machines: {made.machines:,}, each with {made.audio_hours_per_machine_hour:.1f} audio hours an hour "
        f"({assumptions.headroom:.0%} headroom), {assumptions.spare} to spare",
        f"  simulated at the peak: p{made.objective.percentile} {made.simulated_s:.1f} s; with {assumptions.spare} "
        f"lost {made.simulated_lost_s:.1f} s; in a burst of {BURST_TIMES:g} times the peak for {BURST_S:g} s "
        f"{made.simulated_burst_s:.1f} s",
    ]
    if made.is_missed:
        lines.append(
            f"  the simulation MISSES the objective of {made.objective.latency_s:g} s at the peak; give more --headroom"
        )
    if made.cost_per_month is not None:
        lines.append(
            f"  cost: {made.cost_per_month:,.0f} a month, {made.cost_per_1000_hours:,.2f} for 1,000 audio hours; "
            f"{made.cost_per_1000_hours_scaled:,.2f} if machines follow the load ({made.mean_machines:,.1f} on average)"
        )
    return "\n".join(lines)


def told_backlog(made: Backlog) -> str:
    """The same of a backlog."""
    assumptions = made.assumptions
    text = (
        f"{made.backlog}: {made.machines:,} machines for {made.days:g} days, each with "
        f"{made.audio_hours_per_machine_hour:.1f} audio hours an hour ({assumptions.headroom:.0%} headroom)"
    )
    if made.cost is not None:
        text += f"; {made.cost:,.0f} in all, {made.cost_per_1000_hours:,.2f} for 1,000 audio hours"
    return text
