"""What the server costs: windows a second of the bare engine against a saturated ensemble, on the same clips.

    python -m benchmarks.ensemble_overhead                                          # the settings' Whisper
    python -m benchmarks.ensemble_overhead --whisper base tiny.en --windows 256 --in-flight 64

Bare engine: aircheck's Whisper engine in this process, given all the windows' log-mels, computed beforehand.
Ensemble: a real Triton on loopback, sent the same windows as WAVE bytes, `--in-flight` at a time: decoding, log-mels,
Whisper, both classifiers, the policy, and the client's own work, all on the same cores. Both run with the settings in
force, and are timed from the first window sent to the last answered.

Where the rest goes: CPU seconds of each process over the same time.
"""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markdown import Markdown

from aircheck import hardware
from aircheck.capacity.processes import cpu_seconds
from aircheck.evaluation.transcribe import LIMITS
from aircheck.inference.device import cpu_threads, select_device
from aircheck.inference.whisper.decoding.options import DecodingOptions
from aircheck.inference.whisper.engine import WhisperEngine, Window, select_dtype
from aircheck.inference.whisper.weights.checkpoint import load
from aircheck.server import Server
from aircheck.settings import ROOT, Settings
from aircheck_client import AircheckClient, Retry
from benchmarks import ensemble, result_file
from benchmarks.baselines.windows import log_mels_of
from benchmarks.throughput import PACKAGES
from preprocessing.windows import Episode
from preprocessing.windows import Window as Clip

RESULT = ROOT / "benchmarks" / "results" / "ensemble_overhead.json"
_WARM_UP_WINDOWS = 8
_TRITON_PACKAGES = (*PACKAGES, "nvidia-pytriton", "nvidia-dali-cuda130")


def main() -> None:
    """Parse arguments, measure, print, write."""
    asked = _parse()
    console = Console(highlight=False)
    report: dict[str, Any] = {
        "conditions": {
            "command": "python -m benchmarks.ensemble_overhead " + " ".join(sys.argv[1:]),
            **hardware.facts(_TRITON_PACKAGES),
            "windows": asked.windows,
            "in_flight": asked.in_flight,
            "recording": asked.recording.name,
        },
        "runs": [],
    }
    for name in asked.whisper or [Settings.load().whisper]:
        settings = Settings.load(grpc_port=0, metrics_port=0, whisper=name)
        clips = [*Episode(asked.recording.read_bytes(), LIMITS).windows(settings.window_max_s)]
        clips = [*islice(cycle(clips), asked.windows)]
        report["runs"].append(compared(name, settings, clips, asked.in_flight, console))
        result_file.write(report, asked.out)
    console.print(Markdown(markdown(report)))
    console.print(f"written to {asked.out}")


def compared(name: str, settings: Settings, clips: list[Clip], in_flight: int, console: Console) -> dict[str, Any]:
    """Bare engine, ensemble, bare engine again: the better of the two counts, so that a slower start favours nobody."""
    console.print(f"[bold]{name}[/]: {len(clips)} windows; bare engine")
    first = bare_windows_per_s(settings, clips)
    console.print(f"  {first:.2f} windows/s; ensemble with {in_flight} windows in flight")
    served = served_windows_per_s(settings, clips, in_flight)
    console.print(f"  {served['windows_per_s']:.2f} windows/s; bare engine again")
    bare = max(first, bare_windows_per_s(settings, clips))
    return {
        "whisper": name,
        "dtype": settings.whisper_dtype,
        "bare_windows_per_s": round(bare, 3),
        "ensemble_windows_per_s": round(served["windows_per_s"], 3),
        "ensemble_keeps": round(served["windows_per_s"] / bare, 4),
        "cpu_share": served["cpu_share"],
        "cores_busy": served["cores_busy"],
        "mean_batch": served["mean_batch"],
    }


def bare_windows_per_s(settings: Settings, clips: list[Clip]) -> float:
    """The engine alone, as the model `whisper` sets it up."""
    device = select_device(settings.device, {})
    whisper = load(settings.whisper, device, select_dtype(settings.whisper_dtype, device))
    log_mels = log_mels_of([clip.samples for clip in clips], whisper.model.dims.n_mels)
    windows = [Window(log_mel, clip.duration_s) for log_mel, clip in zip(log_mels, clips, strict=True)]
    with WhisperEngine(
        whisper,
        DecodingOptions.of(settings),
        n_slots=settings.whisper_slots or None,
        quantization=settings.whisper_quantization,
        threads=cpu_threads(settings.cpu_threads),
    ) as engine:
        engine.decode(windows[:_WARM_UP_WINDOWS])
        started = time.monotonic()
        engine.decode(windows)
        return len(windows) / (time.monotonic() - started)


def served_windows_per_s(settings: Settings, clips: list[Clip], in_flight: int) -> dict[str, Any]:
    """A saturated ensemble on loopback; and what every process and model of it spent meanwhile."""
    encoded = [clip.wav() for clip in clips]
    with (
        Server(settings) as server,
        AircheckClient(server.url, timeout_s=600, retry=Retry(attempts=1)) as client,
        ThreadPoolExecutor(in_flight) as pool,
    ):
        list(pool.map(client.scan_clip, encoded[:_WARM_UP_WINDOWS]))
        cpu_before, counts_before = cpu_seconds(server.pid), ensemble.counts(server)
        started = time.monotonic()
        list(pool.map(client.scan_clip, encoded))
        took_s = time.monotonic() - started
        cpu_after, counts_after = cpu_seconds(server.pid), ensemble.counts(server)
    cpu = {name: cpu_after[name] - cpu_before.get(name, 0.0) for name in cpu_after}
    return {
        "windows_per_s": len(clips) / took_s,
        "cpu_share": {
            name: round(s / sum(cpu.values()), 4) for name, s in sorted(cpu.items(), key=lambda one: -one[1])
        },
        "cores_busy": round(sum(cpu.values()) / took_s, 2),
        "mean_batch": ensemble.mean_batches(counts_before, counts_after),
    }


def markdown(report: dict[str, Any]) -> str:
    """The result as a table."""
    conditions = report["conditions"]
    lines = [
        f"{conditions['cpu']}, {conditions['cores']} cores; `{conditions['command'].strip()}`",
        "",
        "| Whisper | bare engine, windows/s | ensemble, windows/s | keeps | CPU time of the ensemble's processes |",
        "|---|---:|---:|---:|---|",
    ]
    for run in report["runs"]:
        shares = ", ".join(f"{name} {share:.1%}" for name, share in run["cpu_share"].items() if share >= 0.005)
        lines.append(
            f"| {run['whisper']} | {run['bare_windows_per_s']:.2f} | {run['ensemble_windows_per_s']:.2f} | "
            f"{run['ensemble_keeps']:.1%} | {shares} |"
        )
    return "\n".join(lines)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ensemble_overhead",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--whisper", nargs="+", help="checkpoints to serve; default: the setting's")
    parser.add_argument("--windows", type=int, default=128, help="how many, as often as needed (at most 4096)")
    parser.add_argument("--in-flight", type=int, default=40, help="windows sent at a time (at most 256)")
    parser.add_argument("--recording", type=Path, default=ROOT / "samples" / "episode.mp3")
    result_file.add_options(parser, RESULT, markdown)
    asked = parser.parse_args()
    asked.windows, asked.in_flight = min(asked.windows, 4096), min(asked.in_flight, 256)
    return asked


if __name__ == "__main__":
    main()
