"""What the processes of a server spend: gateway, decoders, Triton, one process a model, and the client, this one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psutil

CLIENT = "client"


def cpu_seconds(gateway_pid: int) -> dict[str, float]:
    """CPU time so far, in seconds, by the name of the model; and of gateway, decoders, `tritonserver` and client."""

    def spent(process: psutil.Process) -> float:
        times = process.cpu_times()
        return float(times.user + times.system)

    return _of_each(gateway_pid, spent) | {CLIENT: spent(psutil.Process())}


def resident_mib(gateway_pid: int) -> dict[str, float]:
    """Resident memory in MiB by the same names, without the client; pages shared are counted in each."""
    return _of_each(gateway_pid, lambda process: process.memory_info().rss / 2**20)


def _of_each(gateway_pid: int, figure: Callable[[psutil.Process], float]) -> dict[str, float]:
    gateway = psutil.Process(gateway_pid)
    found = {"gateway": figure(gateway)}
    for child in gateway.children(recursive=True):
        try:
            name, spent = _name(child), figure(child)
        except psutil.NoSuchProcess:
            continue
        found[name] = found.get(name, 0.0) + spent
    return found


def _name(process: psutil.Process) -> str:
    """A model's process is started with the path of its model.py: …/<model>/<version>/model.py."""
    command = process.cmdline()
    if any("aircheck.gateway.decoding" in part for part in command):
        return "decoders"
    return next((Path(part).parts[-3] for part in command if part.endswith("/model.py")), process.name())
