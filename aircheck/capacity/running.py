"""One load on a server, with its metrics and the machine's use read beside it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal

import psutil

from aircheck.capacity.errors import CapacityError
from aircheck.capacity.processes import CLIENT, cpu_seconds
from aircheck.load import calls as call_file
from aircheck.load.calls import Call
from aircheck.load.errors import LoadError
from aircheck.load.server_metrics import Reading, read
from aircheck.load.turns import DRAIN_S
from aircheck.load.workload import Workload
from aircheck_client.connection import is_loopback

LOCUSTFILE = Path(__file__).parents[1] / "load" / "locustfile.py"
OPEN_USERS = 128  # calls under way at a time; what finds none free is counted as late
_EVERY_S = 1.0
_START_S = 120.0


@dataclass(frozen=True)
class Target:
    """A server to load.

    url : host:port; several, parted by commas, take turns
    metrics_url : of one of them; empty: none is read
    pid : of the gateway, where this process started it
    """

    url: str
    metrics_url: str = ""
    pid: int | None = None
    allow_host: str = ""


@dataclass(frozen=True)
class Measured:
    """What happened during a load.

    readings : of the server's metrics, before, about every second, and after
    cpu_use, gpu_use : mean, 0 to 1, of the whole machine; None where it cannot be seen from here
    cpu_s : of the server's processes, by stage
    """

    client: Literal["locust", "asyncio"]
    calls: tuple[Call, ...]
    readings: Sequence[Reading] = field(default=())
    cpu_use: float | None = None
    gpu_use: float | None = None
    cpu_s: Mapping[str, float] = field(default_factory=dict)


class Watch:
    """Reads metrics and use while its block runs."""

    def __init__(self, target: Target):
        self._target = target
        self._is_local = all(is_loopback(url) for url in target.url.split(","))
        self._stop = threading.Event()
        self.readings: list[Reading] = []
        self.cpu_use: float | None = None
        self.cpu_s: dict[str, float] = {}

    def __enter__(self) -> Watch:
        """Raises CapacityError when the metrics cannot be read."""
        self._read()
        self._busy_before = _busy_s() if self._is_local else None
        self._cpu_before = self._of_stages()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        if self._busy_before is not None:
            (busy, total), (busy_before, total_before) = _busy_s(), self._busy_before
            self.cpu_use = round((busy - busy_before) / max(1e-9, total - total_before), 3)
        after = self._of_stages()
        self.cpu_s = {name: seconds - self._cpu_before.get(name, 0.0) for name, seconds in after.items()}
        if kind is None:
            self._read()

    @property
    def gpu_use(self) -> float | None:
        """The mean over the readings."""
        found = [reading.gpu_utilization for reading in self.readings if reading.gpu_utilization is not None]
        return round(sum(found) / len(found), 3) if found else None

    def _run(self) -> None:
        while not self._stop.wait(_EVERY_S):
            try:
                self._read()
            except CapacityError:
                continue  # of a busy server; the last reading must succeed

    def _read(self) -> None:
        if not self._target.metrics_url:
            return
        try:
            self.readings.append(read(self._target.metrics_url))
        except LoadError as error:
            raise CapacityError(str(error)) from None

    def _of_stages(self) -> dict[str, float]:
        if self._target.pid is None:
            return {}
        found = cpu_seconds(self._target.pid)
        del found[CLIENT]
        return found


def run_locust(target: Target, workload: Workload, users: int = OPEN_USERS) -> Measured:
    """The load, by Locust in a process of its own. Raises CapacityError when it did not run."""
    with tempfile.TemporaryDirectory() as folder, Watch(target) as watch:
        path = Path(folder) / "calls.jsonl"
        command = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--headless", "--only-summary"]
        command += ["--host", target.url, "--users", str(users), "--calls", str(path), "--exit-code-on-error", "0"]
        for name, value in workload.model_dump().items():
            if value != Workload.model_fields[name].default:
                command += ["--" + name.replace("_", "-"), str(value)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        limit_s = workload.seconds + workload.timeout_s + DRAIN_S + _START_S
        try:
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=limit_s, check=False
            )
        except subprocess.TimeoutExpired:
            raise CapacityError(f"Locust did not end within {limit_s:.0f} s") from None
        if done.returncode or not path.exists():
            last = "; ".join((done.stderr + done.stdout).strip().splitlines()[-3:])
            raise CapacityError(f"Locust ended with status {done.returncode}: {last} (is the extra `load` installed?)")
        calls = call_file.read(path)[1]
    return Measured("locust", calls, watch.readings, watch.cpu_use, watch.gpu_use, watch.cpu_s)


def _busy_s() -> tuple[float, float]:
    """(CPU seconds spent, CPU seconds that there were), of the whole machine."""
    times = psutil.cpu_times()
    total = sum(times) - times.guest - times.guest_nice
    return total - times.idle - times.iowait, total
