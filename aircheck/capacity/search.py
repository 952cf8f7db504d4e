"""The walk to the knee: closed loop for the scale, then open-loop steps, again and again until the knee is stable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from aircheck.capacity.errors import CapacityError
from aircheck.capacity.objective import Objective
from aircheck.capacity.steps import Step
from aircheck.load.workload import Kind, Workload

STABLE_WITHIN = 0.1
# Of what the closed loop took, and none above: there a queue grows, perhaps too slowly for a step to show it.
_SHARES = (0.5, 0.7, 0.85, 0.95)
_RESOLUTION = 0.1  # of the knee, within a pass

RunStep = Callable[[Workload, int], Step]


@dataclass(frozen=True)
class Walk:
    """How the steps are made.

    users : of the closed loop, ascending
    """

    base: Workload
    objective: Objective
    run: RunStep
    users: tuple[int, ...]
    max_passes: int
    max_steps: int = 8  # of a pass


@dataclass(frozen=True)
class Found:
    """closed, open : all steps; knees : the highest load of each pass that kept the objective, in audio s a second"""

    closed: tuple[Step, ...]
    open: tuple[Step, ...]
    knees: tuple[float, ...]

    @property
    def saturated(self) -> float:
        """The most that the closed loop took, in audio seconds a second."""
        return max(step.achieved for step in self.closed)

    @property
    def knee(self) -> float:
        """The mean of the last two passes."""
        last = self.knees[-2:]
        return round(sum(last) / len(last), 3)

    @property
    def is_stable(self) -> bool:
        """Whether the last two passes agree within STABLE_WITHIN."""
        return is_stable(self.knees)


def is_stable(knees: tuple[float, ...]) -> bool:
    """Whether the last two differ by no more than STABLE_WITHIN of their mean."""
    if len(knees) < 2:
        return False
    first, second = knees[-2:]
    return abs(first - second) <= STABLE_WITHIN * (first + second) / 2


def closed_loop(walk: Walk) -> tuple[Step, ...]:
    """One step for each number of users. Raises CapacityError where nothing is answered."""
    steps = []
    for users in walk.users:
        workload = walk.base.model_copy(update={"loop": "closed", "seed": users})
        steps.append(walk.run(workload, users))
    if not any(step.answered for step in steps):
        raise CapacityError("no call of the closed loop was answered; is the server ready, and the audio sound?")
    return tuple(steps)


def search(walk: Walk, closed: tuple[Step, ...]) -> Found:
    """Passes until two in turn agree, or `max_passes`. Raises CapacityError."""
    scale = max(step.achieved for step in closed)
    steps: list[Step] = []
    knees: list[float] = []
    while len(knees) < walk.max_passes and not is_stable(tuple(knees)):
        own = _pass(walk, scale, first_seed=1000 * (len(knees) + 1))
        steps += own
        knees.append(max((step.offered for step in own if step.is_kept), default=0.0))
    return Found(closed, tuple(steps), tuple(knees))


def _pass(walk: Walk, scale: float, first_seed: int) -> list[Step]:
    """Steps upwards until one misses the objective, then halvings between the last kept and the first missed."""
    steps: list[Step] = []
    kept, missed = 0.0, None
    loads = [share * scale for share in _SHARES]
    while len(steps) < walk.max_steps:
        if missed is None:
            if not loads:
                break
            load = loads.pop(0)
        elif missed - kept <= _RESOLUTION * missed:
            break
        else:
            load = (kept + missed) / 2
        step = run_at(walk, load, first_seed + len(steps))
        steps.append(step)
        # bounds are loads as asked for: what a seed offers in so short a time is a little more or less
        kept, missed = (max(kept, load), missed) if step.is_kept else (kept, load)
    return steps


def holds(walk: Walk, load: float) -> tuple[bool, tuple[Step, ...]]:
    """Whether the objective is kept at `load` by two of at most three steps, and the steps."""
    steps: list[Step] = []
    while True:
        steps.append(run_at(walk, load, 1000 + len(steps)))
        kept = sum(step.is_kept for step in steps)
        if 2 in (kept, len(steps) - kept):
            return kept == 2, tuple(steps)


def run_at(walk: Walk, load: float, seed: int) -> Step:
    """An open-loop step at `load` audio seconds a second."""
    mean_s = walk.base.lengths_of[Kind.CLIP].mean_s
    workload = walk.base.model_copy(update={"loop": "open", "rate": load / mean_s, "seed": seed})
    return walk.run(workload, 0)
