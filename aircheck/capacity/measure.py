"""The whole measurement of one server, from the first warm clip to the profile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from aircheck.capacity.independent import run_asyncio
from aircheck.capacity.objective import Objective
from aircheck.capacity.profile import Agreement, Checked, Knee, Profile
from aircheck.capacity.queueing import ServerModel, simulate
from aircheck.capacity.running import Target, run_locust
from aircheck.capacity.search import Found, Walk, closed_loop, holds, run_at, search
from aircheck.capacity.steps import GATEWAY, Step, summarise
from aircheck.load.audio import Recordings
from aircheck.load.senders import connect
from aircheck.load.workload import Kind, Workload

WARM_CLIPS = 3
COMPARED_AT = 0.6  # of the knee: where a queue that comes and goes does not yet decide what p95 is
COMPARED_MAX_S = 600.0
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Effort:
    """How long it may take.

    max_steps : of a pass
    users : of the closed loop, ascending
    compared_calls : of each of the two clients, within COMPARED_MAX_S: the p95 of a few is their slowest
    """

    step_s: float = 60.0
    max_passes: int = 5
    max_steps: int = 8
    users: tuple[int, ...] = (1, 2, 4, 8, 16)
    compared_calls: int = 100


class Measurement:
    """Of one server."""

    def __init__(self, target: Target, base: Workload, objective: Objective, effort: Effort, tell: Tell):
        self._target, self._base, self._objective, self._effort, self._tell = target, base, objective, effort, tell
        workload = base.model_copy(update={"seconds": effort.step_s, "allow_host": target.allow_host})
        self._walk = Walk(workload, objective, self._run, effort.users, effort.max_passes, effort.max_steps)

    def warm(self) -> None:
        """Raises AircheckError, LoadError."""
        recordings = Recordings(self._base.audio)
        with connect(self._target.url, self._base) as client:
            for index in range(WARM_CLIPS):
                client.scan_clip(recordings.wave(index, self._base.lengths_of[Kind.CLIP].mean_s))

    def profile(self, conditions: dict[str, Any]) -> Profile:
        """Walks to the knee, compares the clients there, and checks the simulation. Raises CapacityError."""
        found = search(self._walk, closed_loop(self._walk))
        agreement = self._agreement(found.knee or 0.5 * found.saturated)
        steps = (*found.closed, *found.open)
        in_flight = int(max([1.0, *(step.in_flight for step in steps)]))
        stage, why = knee_stage(found)
        return Profile(
            conditions=conditions,
            objective=self._objective,
            lengths=self._base.lengths,
            mean_clip_s=round(self._base.lengths_of[Kind.CLIP].mean_s, 3),
            in_flight=in_flight,
            knee=Knee(
                load=found.knee,
                passes=found.knees,
                is_stable=found.is_stable,
                saturated=found.saturated,
                stage=stage,
                stage_why=why,
            ),
            closed=found.closed,
            open=found.open,
            agreement=agreement,
            checked=check_simulation(self._walk.base, found.closed, found.open, in_flight),
        )

    def holds(self, load: float) -> tuple[bool, tuple[Step, ...]]:
        """Whether the objective is kept at `load`, and the steps that say so."""
        return holds(self._walk, load)

    def closed_loop(self) -> tuple[Step, ...]:
        return closed_loop(self._walk)

    def open_loop(self, load: float, seed: int) -> Step:
        return run_at(self._walk, load, seed)

    def _run(self, workload: Workload, users: int) -> Step:
        measured = run_locust(self._target, workload, users) if users else run_locust(self._target, workload)
        step = summarise(workload, users, measured, self._objective)
        self._tell(told(step, self._objective))
        return step

    def _agreement(self, knee: float) -> tuple[Agreement, ...]:
        load, seed = round(COMPARED_AT * knee, 3), 7
        rate = load / self._base.lengths_of[Kind.CLIP].mean_s
        seconds = max(self._effort.step_s, min(self._effort.compared_calls / rate, COMPARED_MAX_S))
        workload = self._walk.base.model_copy(update={"loop": "open", "rate": rate, "seed": seed, "seconds": seconds})
        locust = self._run(workload, 0)
        other = summarise(workload, 0, run_asyncio(self._target, workload), self._objective)
        self._tell("asyncio " + told(other, self._objective))
        rows = [("achieved", locust.achieved, other.achieved), ("goodput", locust.goodput, other.goodput)]
        for name in ("p50", "p95"):
            if name in locust.latencies and name in other.latencies:
                rows.append((f"{name}, s", locust.latencies[name], other.latencies[name]))
        return tuple(
            Agreement(load=load, figure=name, locust=first, independent=second) for name, first, second in rows
        )


def told(step: Step, objective: Objective) -> str:
    """A line."""
    what = f"open loop, {step.offered:6.2f} offered" if step.loop == "open" else f"closed loop, {step.users} users"
    latency = ", ".join(f"{name} {value:.2f} s" for name, value in step.latencies.items())
    verdict = "" if step.loop == "closed" else " kept" if step.is_kept else f" MISSED: {step.missed}"
    return f"{what}: {step.achieved:6.2f} achieved, {latency}{verdict}"


def knee_stage(found: Found) -> tuple[str, str]:
    """What makes the knee, at the highest load of the open loop, and by which figure."""
    last = max(found.open or found.closed, key=lambda step: step.offered)
    shares = {name: stage.cpu_share for name, stage in last.stages.items() if stage.cpu_share is not None}
    if shares:
        name = max(shares, key=lambda one: shares[one] or 0.0)
        use = "" if last.cpu_use is None else f"; the machine's CPUs are in use to {last.cpu_use:.0%}"
        return name, f"{shares[name]:.0%} of the models' and the gateway's CPU time{use}"
    computes = {name: stage.compute_ms or 0.0 for name, stage in last.stages.items()}
    if computes:
        name = max(computes, key=lambda one: computes[one])
        return name, f"{computes[name]:.0f} ms of computing a window, the most of all models"
    return GATEWAY, "the server's metrics were not read; give --metrics-url to see the models"


def check_simulation(
    base: Workload, closed: Sequence[Step], steps: Sequence[Step], in_flight: int, servers: int = 1
) -> tuple[Checked, ...]:
    """The simulation's p50 and p95 beside the measured ones, on the same arrivals; steps that were kept alone."""
    model = ServerModel.of(closed, in_flight)
    rows = []
    for step in sorted(steps, key=lambda step: step.offered):
        if not step.is_kept:
            continue
        rate = step.calls_per_s
        arrivals = base.model_copy(update={"loop": "open", "rate": rate, "seed": step.seed}).arrivals()
        times_s = np.array([arrival.at_s for arrival in arrivals])
        audio_s = np.array([arrival.audio_s for arrival in arrivals])
        runs = [simulate(model, times_s, audio_s, servers, "round_robin", seed) for seed in range(20)]
        for name, at in (("p50, s", 50), ("p95, s", 95)):
            rows.append(
                Checked(
                    servers=servers,
                    load=step.offered,
                    figure=name,
                    measured=step.latencies[name.split(",")[0]],
                    simulated=round(float(np.mean([run.percentile_s(at) for run in runs])), 3),
                )
            )
    return tuple(rows)
