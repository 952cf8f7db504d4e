"""Whether two servers do twice the work of one: each has a core of its own, and the job finds out what both take."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from aircheck.server import Server
from aircheck.settings import Settings
from benchmarks.bulk.kills import start_job
from benchmarks.bulk.throughput import recordings_of


def one_and_two(folder: Path, recordings: int, minutes: float, turns: int) -> dict[str, Any]:
    """Audio seconds a second of whole jobs, in turns: through each server alone, and through both.

    Servers on this machine share more than its cores (memory, caches, power), and the job has no core of its own.
    """
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        raise SystemExit("two servers need two cores")
    recordings_of(folder / "archive", recordings, minutes)
    audio_s = recordings * minutes * 60
    with _on_core(cores[0]) as first, _on_core(cores[1]) as second:
        urls = {"first": first.url, "second": second.url, "both": f"{first.url},{second.url}"}
        rates: dict[str, list[float]] = {name: [] for name in urls}
        for turn in range(turns):
            for name, url in urls.items():
                begun_s = time.perf_counter()
                job = start_job(url, folder / "archive", folder / f"out-{name}-{turn}")
                if job.wait():
                    raise RuntimeError(f"the job ended with {job.returncode}")
                rates[name].append(audio_s / (time.perf_counter() - begun_s))
    medians = {name: float(np.median(found)) for name, found in rates.items()}
    return {
        "recordings": recordings,
        "minutes_each": minutes,
        "cores_of_each_server": 1,
        "audio_s_per_s": {name: [round(rate, 2) for rate in found] for name, found in rates.items()},
        "times_one": round(2 * medians["both"] / (medians["first"] + medians["second"]), 3),
    }


@contextmanager
def _on_core(core: int) -> Iterator[Server]:
    """A server whose processes, which have it from ours, run on one core."""
    ours = os.sched_getaffinity(0)
    server = Server(Settings.load(grpc_port=0, metrics_port=0))
    os.sched_setaffinity(0, {core})
    try:
        server.start()
    finally:
        os.sched_setaffinity(0, ours)
    try:
        yield server
    finally:
        server.stop()
