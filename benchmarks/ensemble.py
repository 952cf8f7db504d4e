"""What the whole server does on this machine: throughput, where the time goes, time to ready, memory.

    python -m benchmarks.ensemble --seconds 60 --in-flight 16

Starts a server with the settings in force, sends it the windows of the sample episode (loopback, bounded in time), and
reads Triton's own statistics. Writes JSON with the conditions beside the figures; run it on a machine at rest.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import tritonclient.grpc as triton
from rich.console import Console
from rich.progress import track
from rich.table import Table

from aircheck.server import Server
from aircheck.settings import ROOT, Settings
from aircheck_client import AircheckClient, Retry
from benchmarks.clips import sample_clips

MODELS = ("audio_decode", "whisper", "text_safety", "acoustic_safety", "policy")
WARM_UP_CLIPS = 16


def main() -> None:
    """Parse arguments, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60, help="how long to keep the server busy (at most 600)")
    parser.add_argument("--in-flight", type=int, default=16, help="clips sent at a time (at most 256)")
    parser.add_argument("--recording", type=Path, default=ROOT / "samples" / "episode.mp3")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "ensemble.json")
    options = parser.parse_args()
    seconds, in_flight = min(options.seconds, 600.0), min(options.in_flight, 256)

    console = Console(highlight=False)
    started = time.monotonic()
    with Server(Settings.load(grpc_port=0, http_port=0, metrics_port=0)) as server:
        ready_s = time.monotonic() - started
        clips = sample_clips(options.recording, server.settings.longest_window_s())
        with AircheckClient(server.url, timeout_s=120, retry=Retry(attempts=1)) as client:
            for clip in track(clips[:WARM_UP_CLIPS], "warming up", console=console):
                client.scan_clip(clip)
            before = statistics(server)
            console.print(f"measuring for {seconds:g} s with {in_flight} clips in flight")
            judged_s, count, took_s = _load(client, clips, seconds, in_flight)
        after = statistics(server)
        memory = _memory_mib(server)
    report = {
        "conditions": _conditions(server.settings, options.recording, seconds, in_flight),
        "ready_s": round(ready_s, 2),
        "audio_seconds_per_second": round(judged_s / took_s, 2),
        "clips_per_second": round(count / took_s, 2),
        "mean_clip_s": round(judged_s / count, 2),
        "models": shares(before, after),
        "resident_memory_mib": memory,
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(report, indent=1) + "\n")
    _print(report, console)
    console.print(f"written to {options.output}")


def _load(client: AircheckClient, clips: list[bytes], seconds: float, in_flight: int) -> tuple[float, int, float]:
    """(audio seconds judged, clips judged, wall seconds) with `in_flight` threads that each keep one clip under way."""
    started = time.monotonic()

    def work(first: int) -> list[float]:
        durations_s, at = [], first
        while time.monotonic() - started < seconds:
            durations_s.append(client.scan_clip(clips[at % len(clips)]).duration_s)
            at += in_flight
        return durations_s

    with ThreadPoolExecutor(in_flight) as pool:
        durations_s = [one for several in pool.map(work, range(in_flight)) for one in several]
    return sum(durations_s), len(durations_s), time.monotonic() - started


def statistics(server: Server) -> dict[str, dict[str, int]]:
    """Per model: inferences, executions, and nanoseconds of computing, summed over executions."""
    client = triton.InferenceServerClient(server.url)
    found = {}
    for model in MODELS:
        stats = client.get_inference_statistics(model, as_json=True)["model_stats"][0]
        compute_ns = sum(
            int(batch[phase].get("ns", 0))
            for batch in stats.get("batch_stats", [])
            for phase in ("compute_input", "compute_infer", "compute_output")
        )
        found[model] = {
            "inferences": int(stats.get("inference_count", 0)),
            "executions": int(stats.get("execution_count", 0)),
            "compute_ns": compute_ns,
        }
    return found


def shares(before: dict[str, dict[str, int]], after: dict[str, dict[str, int]]) -> dict[str, dict[str, float]]:
    spent = {model: {key: after[model][key] - before[model][key] for key in after[model]} for model in MODELS}
    total_ns = sum(item["compute_ns"] for item in spent.values())
    return {
        model: {
            "share_of_compute": round(item["compute_ns"] / total_ns, 3),
            "ms_per_clip": round(item["compute_ns"] / 1e6 / item["inferences"], 2),
            "mean_batch": round(item["inferences"] / item["executions"], 2),
        }
        for model, item in spent.items()
    }


def _memory_mib(server: Server) -> dict[str, float]:
    """Resident memory of Triton and of each model's process."""
    triton_process = psutil.Process(server.pid)
    found = {"tritonserver": triton_process.memory_info().rss / 2**20}
    for child in triton_process.children(recursive=True):
        command = child.cmdline()
        name = next((part.split("/")[-3] for part in command if part.endswith("/model.py")), child.name())
        found[name] = found.get(name, 0.0) + child.memory_info().rss / 2**20
    return {name: round(mib) for name, mib in found.items()}


def _conditions(settings: Settings, recording: Path, seconds: float, in_flight: int) -> dict[str, Any]:
    packages = ("torch", "nvidia-dali-cuda130", "nvidia-pytriton", "openai-whisper", "transformers")
    return {
        "command": f"python -m benchmarks.ensemble --seconds {seconds:g} --in-flight {in_flight}",
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "whisper": settings.whisper,
        "whisper_dtype": settings.whisper_dtype,
        "window_max_s": settings.longest_window_s(),
        "recording": recording.name,
        "versions": {name: version(name) for name in packages},
    }


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def _print(report: dict[str, Any], console: Console) -> None:
    console.print(
        f"[bold]{report['audio_seconds_per_second']} s of audio a second[/] ({report['clips_per_second']} clips of "
        f"{report['mean_clip_s']} s on average); ready after {report['ready_s']} s"
    )
    table = Table("model", "share of compute", "ms a clip", "mean batch", "resident MiB", box=None)
    for model, item in report["models"].items():
        memory = report["resident_memory_mib"].get(model, "")
        table.add_row(
            model, f"{item['share_of_compute']:.1%}", f"{item['ms_per_clip']}", f"{item['mean_batch']}", f"{memory}"
        )
    for name, memory in report["resident_memory_mib"].items():
        if name not in report["models"]:
            table.add_row(name, "", "", "", f"{memory}")
    console.print(table)


if __name__ == "__main__":
    main()
