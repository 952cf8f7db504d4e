"""Runs one engine on one set of windows in a process of its own: `python -m benchmarks.baselines.worker JOB.json`.

A process each, so that peak memory is that engine's alone and no engine's threads or caches touch another's figures.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from aircheck.hardware import peak_memory_mib
from benchmarks import baselines


@dataclass(frozen=True)
class Job:
    """What a worker is to do.

    log_mels : .npy, fp32 [windows, n_mels, 3000]
    lengths : tokens to sample in each window; None: as many as each takes
    repeats, budget_s : run the windows this often, but begin no further round after `budget_s` seconds of them
    samples : .npz of the windows' samples: also ask for the texts left by the engine's own gate
    """

    engine: str
    model: str
    log_mels: str
    lengths: list[int] | None
    threads: int
    slots: int
    dtype: str
    device: str
    repeats: int = 1
    budget_s: float = 600.0
    tuning: dict[str, int] = field(default_factory=dict)
    samples: str | None = None


@dataclass(frozen=True)
class Outcome:
    """What a worker found. peak_gpu_mib is None where the engine's allocator cannot be asked."""

    seconds: list[float]
    decoded: list[dict[str, Any]]
    gated: list[str] | None
    load_s: float
    peak_memory_mib: float
    peak_gpu_mib: float | None
    notes: list[str]


def work(job: Job) -> Outcome:
    """Load, warm up, run."""
    log_mels = np.load(job.log_mels, mmap_mode="r")
    setup = baselines.Setup(Path(job.model), job.threads, job.slots, job.dtype, job.device, job.tuning)
    started = time.perf_counter()
    engine = baselines.load(job.engine, setup)
    load_s = time.perf_counter() - started
    n_warm_up = min(len(log_mels), 2)
    engine.run(log_mels[:n_warm_up], job.lengths and [min(8, length) for length in job.lengths[:n_warm_up]])
    seconds: list[float] = []
    decoded: Sequence[baselines.Decoded] = []
    while len(seconds) < job.repeats and sum(seconds) < job.budget_s:
        started = time.perf_counter()
        decoded = engine.run(log_mels, job.lengths)
        seconds.append(time.perf_counter() - started)
    peak_mib, gpu_mib = peak_memory_mib(), _peak_gpu_mib(job.device)
    gated = None
    if job.samples:
        with np.load(job.samples) as file:
            gated = engine.gated([file[name] for name in sorted(file.files, key=int)], log_mels)
    return Outcome(seconds, [asdict(one) for one in decoded], gated, load_s, peak_mib, gpu_mib, list(engine.notes))


def _peak_gpu_mib(device: str) -> float | None:
    torch = sys.modules.get("torch")
    if device == "cpu" or torch is None:
        return None
    return float(torch.cuda.max_memory_allocated()) / 2**20


def main() -> None:
    job_path, outcome_path = Path(sys.argv[1]), Path(sys.argv[2])
    outcome = work(Job(**json.loads(job_path.read_text())))
    outcome_path.write_text(json.dumps(asdict(outcome)))


if __name__ == "__main__":
    main()
