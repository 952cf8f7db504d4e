"""A seeded simulation of servers under load, calibrated by what one was measured to do.

The model, a queue with processor sharing that depends on the load (Kelly 1979, section 3.3):

- A server works on at most `in_flight` windows at a time; others wait their turn, first come, first served.
- With n of them in flight it gets through X(n) audio seconds a second, each window an equal share. X is measured by the
  closed loop with n users, linear between the measured n and flat beyond. It holds all that the stages, their batches
  and the cores share.
- A window's work is its length times a factor drawn from the measured times of a single user, whose mean is 1: texts
  differ in how long they take.

What it leaves out: which stage a window is in, refusals, restarts, and other load on the machine.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from aircheck.capacity.errors import CapacityError
from aircheck.capacity.profile import Profile
from aircheck.capacity.steps import Step

Balancing = Literal["round_robin", "random"]
_TINY = 1e-9


@dataclass(frozen=True)
class ServerModel:
    """One server. speeds[n - 1] : X(n), audio seconds a second; factors : of a window's work"""

    speeds: tuple[float, ...]
    factors: tuple[float, ...]

    @classmethod
    def of(cls, closed: Sequence[Step], in_flight: int) -> ServerModel:
        """Raises CapacityError where no step of the closed loop was answered."""
        points = sorted((step.users, step.achieved) for step in closed if step.answered)
        if not points:
            raise CapacityError("the profile has no closed loop to calibrate the simulation by; measure again")
        users, speeds = zip(*points, strict=True)
        at = np.arange(1, max(in_flight, 1) + 1)
        alone = next(step for step in sorted(closed, key=lambda step: step.users) if step.answered)
        times_s = np.array(alone.quantiles_s or (1.0,))
        return cls(
            tuple(float(speed) for speed in np.interp(at, users, speeds)),
            tuple(float(time_s) for time_s in times_s / times_s.mean()),
        )

    @classmethod
    def of_profile(cls, profile: Profile) -> ServerModel:
        """Raises CapacityError."""
        return cls.of(profile.closed, profile.in_flight)


@dataclass(frozen=True)
class Simulated:
    """latencies_s : of each arrival, fp64 [arrivals]; left : how many were in the system when the last one came"""

    latencies_s: np.ndarray
    left: int

    def percentile_s(self, at: float) -> float:
        return float(np.percentile(self.latencies_s, at))


def simulate(
    model: ServerModel,
    times_s: np.ndarray,
    audio_s: np.ndarray,
    servers: int = 1,
    balancing: Balancing = "round_robin",
    seed: int = 0,
) -> Simulated:
    """Latencies of the arrivals at `times_s`, ascending, fp64 [arrivals], of windows of `audio_s`, fp64 [arrivals]."""
    generator = np.random.default_rng(seed)
    work = audio_s * generator.choice(model.factors, size=len(times_s))
    where = (
        np.arange(len(times_s)) % servers
        if balancing == "round_robin"
        else generator.integers(servers, size=len(times_s))
    )
    latencies_s, left = np.zeros(len(times_s)), 0
    for server in range(servers):
        own = np.flatnonzero(where == server)
        ends_s = _one_server(model.speeds, times_s[own], work[own])
        latencies_s[own] = ends_s - times_s[own]
        left += int(np.sum(ends_s > times_s[-1])) if len(own) else 0
    return Simulated(latencies_s, left)


def _one_server(speeds: tuple[float, ...], times_s: np.ndarray, work: np.ndarray) -> np.ndarray:
    """When each arrival's work is done.

    All windows in flight progress at one pace, so what each has left is a threshold on the work that any one of them
    has had so far (virtual time).
    """
    ends_s = np.zeros(len(times_s))
    waiting: deque[int] = deque()
    thresholds: dict[int, float] = {}  # of those in flight
    now_s, done, arrived = 0.0, 0.0, 0
    while arrived < len(times_s) or thresholds:
        pace = speeds[min(len(thresholds), len(speeds)) - 1] / len(thresholds) if thresholds else 0.0
        first = min(thresholds, key=thresholds.__getitem__) if thresholds else -1
        next_end_s = now_s + (thresholds[first] - done) / pace if thresholds else np.inf
        next_arrival_s = times_s[arrived] if arrived < len(times_s) else np.inf
        at_s = min(next_end_s, next_arrival_s)
        done += pace * (at_s - now_s)
        now_s = at_s
        if next_arrival_s <= next_end_s:
            waiting.append(arrived)
            arrived += 1
        else:
            ends_s[first] = now_s
            del thresholds[first]
        while waiting and len(thresholds) < len(speeds):
            admitted = waiting.popleft()
            thresholds[admitted] = done + max(work[admitted], _TINY)
    return ends_s
