"""What the processes of a running server spend: Triton, one process a model, and the client, which is this one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psutil

from aircheck.server import Server

CLIENT = "client"


def cpu_seconds(server: Server) -> dict[str, float]:
    """CPU time so far, in seconds, by the name of the model; and of `tritonserver` and the client."""

    def spent(process: psutil.Process) -> float:
        times = process.cpu_times()
        return float(times.user + times.system)

    return _of_each(server, spent) | {CLIENT: spent(psutil.Process())}


def resident_mib(server: Server) -> dict[str, float]:
    """Resident memory in MiB by the name of the model, and of `tritonserver`; pages shared are counted in each."""
    return _of_each(server, lambda process: process.memory_info().rss / 2**20)


def _of_each(server: Server, figure: Callable[[psutil.Process], float]) -> dict[str, float]:
    triton = psutil.Process(server.pid)
    found = {"tritonserver": figure(triton)}
    for child in triton.children(recursive=True):
        # a model's process is started with the path of its model.py: …/<model>/<version>/model.py
        name = next((Path(part).parts[-3] for part in child.cmdline() if part.endswith("/model.py")), child.name())
        found[name] = found.get(name, 0.0) + figure(child)
    return found
