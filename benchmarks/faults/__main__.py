"""What a server does while its processes die, its disks fill and its callers misbehave.

    python -m benchmarks.faults
    python -m benchmarks.faults --only "kill whisper" overload    # the other rows stay as they are in the file
    python -m benchmarks.faults --resume                          # only the rows that the file does not have
    python -m benchmarks.faults --show benchmarks/results/faults.json

Starts a server with the settings in force and sends it, at each fault, 8 clips of the sample episode and a recording
of 20 s. A row says what became of those that were in flight: answered as they are at rest, refused with a typed error,
or lost (no answer within three minutes, or a wrong one). Runs in a mount namespace of its own, in which /dev/shm and
the spool are small (util-linux's `unshare`); where that is not allowed, the two rows of full disks are left out.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from aircheck import hardware
from aircheck.server import Server
from aircheck.settings import ROOT, Settings
from aircheck_client import AsyncAircheckClient, Retry
from benchmarks import result_file
from benchmarks.clips import sample_clips
from benchmarks.faults.faults import IN_FLIGHT, Stage, all_faults
from benchmarks.faults.load import Requests

CLIP_S, RECORDING_S = 4.0, 20.0
_INSIDE = "BENCHMARK_FAULTS_SPOOL"  # set within the namespace of its own: the small spool's folder
_SHM_MIB, _SPOOL_MIB = 512, 16
_NEED_NAMESPACE = ("shm", "spool")


def main() -> int:
    """Parse arguments, do the faults one after another, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=list(all_faults()), metavar="FAULT", help=", ".join(all_faults()))
    parser.add_argument("--resume", action="store_true", help="leave out what the result has, and keep it")
    result_file.add_options(parser, ROOT / "benchmarks" / "results" / "faults.json", markdown)
    options = parser.parse_args()
    if _INSIDE not in os.environ and _namespaces_work():
        return _run_inside()
    console = Console(highlight=False)
    report = _kept(options.out) if options.only or options.resume else {}
    has = {row["name"] for row in report.get("faults", ())}
    names = [name for name in options.only or all_faults() if not (options.resume and name in has)]
    asyncio.run(_measure(names, report, options.out, console))
    return 0


async def _measure(names: list[str], report: dict[str, Any], out: Path, console: Console) -> None:
    """Adds to the report, which may have rows of an earlier run, and writes it after each fault."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(64))  # the client reads files on threads
    spool = os.environ.get(_INSIDE)
    settings = Settings.load(grpc_port=0, metrics_port=0, spool_dir=Path(spool) if spool else None)
    clips = sample_clips(ROOT / "samples" / "episode.mp3", CLIP_S)[1 : 1 + IN_FLIGHT]
    recording = _excerpt(RECORDING_S)
    rows = {row["name"]: row for row in report.get("faults", ())}
    conditions = report.get("conditions") or _conditions(settings)
    command = " ".join(("python -m benchmarks.faults", *sys.argv[1:]))
    with Server(settings) as server:
        async with AsyncAircheckClient(server.url, retry=Retry(attempts=1)) as client:
            requests = Requests(client, clips, recording)
            await requests.learn()
            stage = Stage(server, client, requests, clips[0], recording)
            for name, fault in all_faults().items():
                if name not in names or (name in _NEED_NAMESPACE and not spool):
                    continue
                load = round(os.getloadavg()[0], 2)
                row = asdict(await fault(stage))
                rows[name] = {"name": name, **row, "command": command, "load_average_before": load}
                in_order = [rows[one] for one in all_faults() if one in rows]
                result_file.write({"conditions": conditions, "faults": in_order}, out)
                console.print(markdown({"faults": [rows[name]]}).splitlines()[-1], markup=False, soft_wrap=True)
    console.print(f"written to {out}")


def _kept(result: Path) -> dict[str, Any]:
    """What a file holds; nothing where there is none."""
    return dict(json.loads(result.read_text())) if result.exists() else {}


def markdown(report: dict[str, Any]) -> str:
    """The table of docs/reliability.md."""
    lines = [
        "| fault | in flight | answered | clear errors | lost | health tells after, s | recovered in, s |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in report["faults"]:
        errors = ", ".join(f"{n} {name}" for name, n in row["errors"].items()) or "0"
        lost = ", ".join(f"{n} {how}" for how, n in row["lost"].items()) or "0"
        noticed, recovered = ("–" if row[key] is None else f"{row[key]:g}" for key in ("noticed_s", "recovered_s"))
        fault = f"{row['fault']} ({row['note']})" if row["note"] else row["fault"]
        lines.append(
            f"| {fault} | {row['in_flight']} | {row['answered']} | {errors} | {lost} | {noticed} | {recovered} |"
        )
    return "\n".join(lines)


def _excerpt(seconds: float) -> bytes:
    """The beginning of the sample episode as a WAVE file."""
    import numpy as np

    from preprocessing.wave_file import wave_bytes, wave_samples

    windows = sample_clips(ROOT / "samples" / "episode.mp3", CLIP_S)
    samples = np.concatenate([wave_samples(window) for window in windows], axis=1)
    return wave_bytes(samples[:, : int(16_000 * seconds)], 16_000)


def _conditions(settings: Settings) -> dict[str, Any]:
    return {
        "command": " ".join(("python -m benchmarks.faults", *sys.argv[1:])),
        **hardware.facts(("torch", "nvidia-pytriton", "grpcio")),
        "whisper": settings.whisper,
        "clip_s": CLIP_S,
        "recording_s": RECORDING_S,
    }


def _unshare(*command: str) -> list[str]:
    as_root = [] if os.geteuid() == 0 else ["--map-root-user"]
    return ["unshare", *as_root, "--mount", *command]


def _namespaces_work() -> bool:
    try:
        return subprocess.run(_unshare("true"), capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def _run_inside() -> int:
    """This command again, in a mount namespace of its own with a small /dev/shm and a small disk for the spool."""
    with tempfile.TemporaryDirectory() as spool:
        script = (
            f"mount -t tmpfs -o size={_SHM_MIB}m tmpfs /dev/shm && "
            f'mount -t tmpfs -o size={_SPOOL_MIB}m tmpfs "$1" && shift && exec "$@"'
        )
        again = [sys.executable, "-m", "benchmarks.faults", *sys.argv[1:]]
        environment = {**os.environ, _INSIDE: spool}
        return subprocess.run(
            _unshare("sh", "-c", script, "sh", spool, *again), env=environment, check=False
        ).returncode


if __name__ == "__main__":
    sys.exit(main())
