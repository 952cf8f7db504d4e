"""What the whole server does on this machine: throughput, where the time goes, time to ready, memory.

    python -m benchmarks.ensemble --seconds 60 --in-flight 16

Starts a server with the settings in force, sends it the windows of the sample episode (loopback, bounded in time), and
reads the CPU time of its processes and Triton's statistics. Writes JSON with the conditions beside the figures; run it
on a machine at rest.
"""

from __future__ import annotations

import argparse
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import tritonclient.grpc as triton
from rich.console import Console
from rich.progress import track
from rich.table import Table

from aircheck import hardware
from aircheck.capacity.processes import cpu_seconds, resident_mib
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
    with Server(Settings.load(grpc_port=0, metrics_port=0)) as server:
        ready_s = time.monotonic() - started
        clips = sample_clips(options.recording, server.settings.window_max_s)
        with AircheckClient(server.url, timeout_s=120, retry=Retry(attempts=1)) as client:
            for clip in track(clips[:WARM_UP_CLIPS], "warming up", console=console):
                client.scan_clip(clip)
            before, cpu_before = counts(server), cpu_seconds(server.pid)
            console.print(f"measuring for {seconds:g} s with {in_flight} clips in flight")
            checked_s, count, took_s = _load(client, clips, seconds, in_flight)
            after, cpu_after = counts(server), cpu_seconds(server.pid)
        memory = resident_mib(server.pid)
    report = {
        "conditions": _conditions(server.settings, options.recording, seconds, in_flight),
        "ready_s": round(ready_s, 2),
        "audio_seconds_per_second": round(checked_s / took_s, 2),
        "clips_per_second": round(count / took_s, 2),
        "mean_clip_s": round(checked_s / count, 2),
        "cpu_ms_per_clip": {name: round((cpu_after[name] - cpu_before[name]) / count * 1e3, 1) for name in cpu_after},
        "mean_batch": mean_batches(before, after),
        "resident_memory_mib": {name: round(mib) for name, mib in memory.items()},
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(report, indent=1) + "\n")
    _print(report, console)
    console.print(f"written to {options.output}")


def _load(client: AircheckClient, clips: list[bytes], seconds: float, in_flight: int) -> tuple[float, int, float]:
    """(audio seconds checked, clips checked, wall seconds) with `in_flight` threads, each with one clip under way."""
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


def counts(server: Server) -> dict[str, tuple[int, int]]:
    """Inferences and executions of each model so far, by Triton's statistics."""
    client = triton.InferenceServerClient(server.triton_url)
    found = {}
    for model in MODELS:
        stats = client.get_inference_statistics(model, as_json=True)["model_stats"][0]
        found[model] = int(stats.get("inference_count", 0)), int(stats.get("execution_count", 0))
    return found


def mean_batches(before: dict[str, tuple[int, int]], after: dict[str, tuple[int, int]]) -> dict[str, float]:
    """Inferences an execution between two counts. Not for what whisper decodes at a time: it batches by itself."""
    return {
        model: round((after[model][0] - before[model][0]) / max(1, after[model][1] - before[model][1]), 2)
        for model in MODELS
    }


def _conditions(settings: Settings, recording: Path, seconds: float, in_flight: int) -> dict[str, Any]:
    packages = ("torch", "nvidia-dali-cuda130", "nvidia-pytriton", "openai-whisper", "transformers")
    return {
        "command": f"python -m benchmarks.ensemble --seconds {seconds:g} --in-flight {in_flight}",
        **hardware.facts(packages),
        "whisper": settings.whisper,
        "whisper_dtype": settings.whisper_dtype,
        "window_max_s": settings.window_max_s,
        "recording": recording.name,
    }


def _print(report: dict[str, Any], console: Console) -> None:
    console.print(
        f"[bold]{report['audio_seconds_per_second']} s of audio a second[/] ({report['clips_per_second']} clips of "
        f"{report['mean_clip_s']} s on average); ready after {report['ready_s']} s"
    )
    table = Table("process", "CPU ms a clip", "share", "mean batch", "resident MiB", box=None)
    total_ms = sum(report["cpu_ms_per_clip"].values())
    for name, ms in sorted(report["cpu_ms_per_clip"].items(), key=lambda one: -one[1]):
        batch, memory = (report[key].get(name, "") for key in ("mean_batch", "resident_memory_mib"))
        table.add_row(name, f"{ms}", f"{ms / total_ms:.1%}", f"{batch}", f"{memory}")
    console.print(table)


if __name__ == "__main__":
    main()
