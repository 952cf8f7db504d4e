"""The figures of one load."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from aircheck.capacity.objective import MAX_GROWTH, Objective
from aircheck.capacity.running import Measured
from aircheck.load.calls import Call
from aircheck.load.server_metrics import ENSEMBLE, Model
from aircheck.load.workload import Workload

_REFUSALS = ("OverloadedError", "UnavailableError")
GATEWAY, WHISPER = "gateway", "whisper"


class Stage(BaseModel):
    """Of one model, means over a step. batch : windows an execution.

    Those of whisper are its engine's, which lets windows wait and batches them by itself: its batch is slots in use.
    """

    model_config = ConfigDict(frozen=True)

    batch: float | None
    queue_ms: float | None
    compute_ms: float | None
    cpu_share: float | None = None  # of the CPU time of the server's processes, where they are ours


class Step(BaseModel):
    """A load and what became of it. Loads and rates are in audio seconds a second, that is hours an hour.

    offered : what was sent; in a closed loop, what was taken
    achieved : of what was answered, from the first intended start to the end of the step or the last answer
    goodput : of what was answered within the objective's time
    latencies : p50, p95, p99 from the intended start, over answered calls, in s; quantiles_s: 20, at even steps
    growth : the share of the offered calls that joined a growing queue (slope of the calls in the system over time)
    """

    model_config = ConfigDict(frozen=True)

    client: Literal["locust", "asyncio"] = "locust"
    loop: Literal["open", "closed"]
    users: int
    seed: int
    seconds: float
    calls_per_s: float
    offered: float
    achieved: float
    goodput: float
    calls: int
    answered: int
    refused: int
    errors: dict[str, int]
    late_starts: int
    latencies: dict[str, float]
    quantiles_s: tuple[float, ...] = ()
    objective_s: float | None
    growth: float
    max_waiting: float
    in_flight: float
    turn_ms: float | None
    stages: dict[str, Stage]
    cpu_use: float | None
    gpu_use: float | None
    missed: str = ""

    @property
    def is_kept(self) -> bool:
        """Whether the objective was."""
        return not self.missed


def summarise(workload: Workload, users: int, measured: Measured, objective: Objective) -> Step:
    """The figures of what was measured."""
    calls, answered = measured.calls, [call for call in measured.calls if not call.error]
    latencies = np.array([call.latency_s for call in answered])
    lasted_s = max([workload.seconds, *(call.ended_s for call in answered)])
    in_time = [call for call in answered if call.latency_s <= objective.latency_s]
    offered_s = workload.seconds if workload.loop == "open" else lasted_s
    errors = Counter(call.error for call in calls if call.error)
    objective_s = float(np.percentile(latencies, objective.percentile)) if len(latencies) else None
    growth = queue_growth(calls, workload.seconds)
    step = Step(
        client=measured.client,
        loop=workload.loop,
        users=users,
        seed=workload.seed,
        seconds=workload.seconds,
        calls_per_s=round(len(calls) / workload.seconds, 4),
        offered=_rate(calls, offered_s),
        achieved=_rate(answered, lasted_s),
        goodput=_rate(in_time, lasted_s),
        calls=len(calls),
        answered=len(answered),
        refused=sum(count for kind, count in errors.items() if kind in _REFUSALS),
        errors=dict(errors),
        late_starts=sum(call.is_late for call in calls),
        latencies={f"p{at}": round(float(np.percentile(latencies, at)), 3) for at in (50, 95, 99) if len(latencies)},
        quantiles_s=tuple(np.percentile(latencies, np.arange(2.5, 100, 5)).round(3)) if len(latencies) else (),
        objective_s=None if objective_s is None else round(objective_s, 3),
        growth=round(growth, 3),
        max_waiting=max((reading.windows_waiting for reading in measured.readings), default=0.0),
        in_flight=max((reading.windows_in_flight for reading in measured.readings), default=0.0),
        turn_ms=_turn_ms(measured),
        stages=_stages(measured),
        cpu_use=measured.cpu_use,
        gpu_use=measured.gpu_use,
    )
    return step.model_copy(update={"missed": _missed(step, objective)})


def queue_growth(calls: Sequence[Call], seconds: float) -> float:
    """Slope of the number of calls in the system, over the rate of arrivals: 0 where the server keeps up, 1 where it
    answers nothing. Least squares over a sample a second of the load's last two thirds, for it starts empty.
    """
    if len(calls) < 2:
        return 0.0
    times_s = np.arange(seconds / 3, seconds, 1.0)
    if len(times_s) < 3:
        return 0.0
    begins, ends = (np.array([getattr(call, name) for call in calls]) for name in ("at_s", "ended_s"))
    present = [int(np.sum((begins <= at_s) & (ends > at_s))) for at_s in times_s]
    slope = float(np.polyfit(times_s, present, 1)[0])
    return slope / (len(calls) / seconds)


def _missed(step: Step, objective: Objective) -> str:
    """Why the objective was not kept; empty: it was."""
    if not step.answered or step.objective_s is None:
        return "no call was answered"
    if step.answered < step.calls:
        return f"{step.calls - step.answered} of {step.calls} calls got no verdict"
    if step.objective_s > objective.latency_s:
        return f"p{objective.percentile} {step.objective_s:.1f} s"
    if step.loop == "open" and step.growth > MAX_GROWTH and step.max_waiting > step.in_flight:
        return f"the queue grows by {step.growth:.0%} of what comes"
    return ""


def _rate(calls: Sequence[Call], seconds: float) -> float:
    return round(sum(call.audio_s for call in calls) / seconds, 3)


def _turn_ms(measured: Measured) -> float | None:
    """The mean wait of a window in the gateway, for its turn."""
    if len(measured.readings) < 2:
        return None
    first, last = measured.readings[0], measured.readings[-1]
    windows = last.windows - first.windows
    return round(1000 * (last.turn_s - first.turn_s) / windows, 1) if windows else None


def _stages(measured: Measured) -> dict[str, Stage]:
    if len(measured.readings) < 2:
        return {}
    first, last = measured.readings[0].models, measured.readings[-1].models
    total_s = sum(measured.cpu_s.values())
    found = {}
    for name, model in _differences(first, last).items():
        if name == ENSEMBLE:
            continue
        stage = Stage(
            batch=_rounded(model.mean_batch),
            queue_ms=_rounded(model.mean_queue_ms),
            compute_ms=_rounded(model.mean_compute_ms),
            cpu_share=round(measured.cpu_s[name] / total_s, 3) if name in measured.cpu_s and total_s else None,
        )
        found[name] = stage.model_copy(update=_of_engine(measured)) if name == WHISPER else stage
    return found


def _of_engine(measured: Measured) -> dict[str, float]:
    """What Triton does not see of whisper: it takes windows at once, and its engine lets them wait and batches them."""
    first, last = measured.readings[0].engine, measured.readings[-1].engine
    if first is None or last is None or last.passes <= first.passes:
        return {}
    passes = last.passes - first.passes
    in_use = [reading.engine.slots_in_use for reading in measured.readings if reading.engine]
    return {
        "batch": round(sum(in_use) / len(in_use), 2),
        "queue_ms": round(1000 * (last.queue_s - first.queue_s) / passes, 2),
        "compute_ms": round(1000 * (last.compute_s - first.compute_s) / passes, 2),
    }


def _differences(first: Mapping[str, Model], last: Mapping[str, Model]) -> dict[str, Model]:
    found = {name: model.since(first.get(name, Model())) for name, model in last.items()}
    return {name: model for name, model in sorted(found.items()) if model.requests}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
