"""The simulation against two measured servers: each on half of this machine's cores, calls in turns."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import psutil

from aircheck.capacity.errors import CapacityError
from aircheck.capacity.measure import Effort, Measurement, Tell, check_simulation
from aircheck.capacity.objective import Objective
from aircheck.capacity.profile import Checked
from aircheck.capacity.running import Target
from aircheck.load.workload import Workload
from aircheck.server import Server
from aircheck.settings import Settings

_SHARES = (0.4, 0.6, 0.8)  # of what the closed loop takes


def check_fleet(base: Workload, objective: Objective, effort: Effort, tell: Tell) -> tuple[Checked, ...]:
    """One server on half of the cores calibrates the simulation; then it, and two of them, are measured and simulated.

    The second is loaded twice as much. Raises CapacityError, StartError.
    """
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise CapacityError("two servers want two cores; leave --fleet-check out")
    half = len(cores) // 2
    with _server(cores[:half]) as first, _server(cores[half : 2 * half]) as second:
        one = Measurement(_target([first]), base, objective, effort, tell)
        both = Measurement(_target([first, second]), base, objective, effort, tell)
        one.warm()
        Measurement(_target([second]), base, objective, effort, tell).warm()
        closed = one.closed_loop()
        saturated = max(step.achieved for step in closed)
        in_flight = int(max([1.0, *(step.in_flight for step in closed)]))
        workload = base.model_copy(update={"seconds": effort.step_s})
        found: list[Checked] = []
        for n, measurement in ((1, one), (2, both)):
            steps = [measurement.open_loop(n * share * saturated, 100 + at) for at, share in enumerate(_SHARES)]
            kept = [step.model_copy(update={"missed": ""}) for step in steps if step.answered == step.calls]
            found += check_simulation(workload, closed, kept, in_flight, servers=n)
    return tuple(found)


def _target(servers: Sequence[Server]) -> Target:
    only = servers[0] if len(servers) == 1 else None
    return Target(
        url=",".join(server.url for server in servers),
        metrics_url=servers[0].metrics_url,
        pid=only.pid if only else None,
    )


@contextmanager
def _server(cores: Sequence[int]) -> Iterator[Server]:
    """A server that may use these cores alone. It starts on all: models that load on one core starve one another."""
    # as the defaults are on a machine of so many cores
    limits = {"windows_in_flight": 4 + 2 * len(cores), "cpu_threads": len(cores)}
    with Server(Settings.load(grpc_port=0, metrics_port=0, **limits)) as server:
        _pin(server.pid, cores)
        yield server


def _pin(pid: int, cores: Sequence[int]) -> None:
    """All threads of the process and its children; what they start from now on inherits it."""
    process = psutil.Process(pid)
    for one in (process, *process.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            for thread in one.threads():
                with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
                    os.sched_setaffinity(thread.id, cores)
