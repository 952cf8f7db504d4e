"""Starts a worker, bounded in time, and reads what it found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from aircheck.settings import ROOT
from benchmarks.baselines.worker import Job, Outcome

_TAIL = 8  # lines of a failed engine's output that are reported


class EngineFailedError(RuntimeError):
    """An engine crashed, ran out of time, or did not do what was asked; the message says which."""


def run(job: Job, limit_s: float) -> Outcome:
    """Run one engine in a process of its own. Raises EngineFailedError."""
    threads = str(job.threads)
    environment = os.environ | {
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "HF_HUB_OFFLINE": "1",  # weights and vocabularies are local; nothing is ever fetched
        "TRANSFORMERS_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    with tempfile.TemporaryDirectory(prefix="aircheck-engine-") as folder:
        asked, found = Path(folder) / "job.json", Path(folder) / "outcome.json"
        asked.write_text(json.dumps(asdict(job)))
        command = [sys.executable, "-m", "benchmarks.baselines.worker", str(asked), str(found)]
        try:
            done = subprocess.run(
                command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=limit_s, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise EngineFailedError(f"did not finish within {limit_s:g} s; raise --limit or ask for less") from error
        if done.returncode != 0 or not found.is_file():
            tail = "\n".join(done.stderr.strip().splitlines()[-_TAIL:])
            raise EngineFailedError(f"exit code {done.returncode}\n{tail}")
        return Outcome(**json.loads(found.read_text()))
