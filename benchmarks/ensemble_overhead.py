"""What the server costs: windows a second of the bare engine against a saturated ensemble, on the same clips.

    python -m benchmarks.ensemble_overhead                             # embedded weights, then random ones of `base`
    python -m benchmarks.ensemble_overhead --weights base --seconds 120 --in-flight 64

Bare engine: aircheck's Whisper engine in this process, fed log-mels that were computed beforehand, its queue kept full.
Ensemble: a real Triton on loopback, sent the same clips as WAVE bytes, `--in-flight` at a time: decoding, log-mels,
Whisper, both classifiers, the policy, and the client's own work, all on the same cores. Both run with the settings in
force. The random weights stop after 64 tokens in every window, without fallback, so that a window costs what a usual
one of that shape does.

Where the rest goes: CPU seconds of each process over the same minute.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import cycle
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.markdown import Markdown

from aircheck.inference.device import cpu_threads, select_device
from aircheck.inference.whisper.checkpoint import load
from aircheck.inference.whisper.engine import WhisperEngine, Window, select_dtype
from aircheck.inference.whisper.options import DecodingOptions
from aircheck.server import Server
from aircheck.settings import ROOT, Settings
from aircheck_client import AircheckClient, Retry
from benchmarks import ensemble, hardware, result_file
from benchmarks.peers import weights
from benchmarks.peers.windows import LIMITS, log_mels_of
from benchmarks.processes import cpu_seconds
from benchmarks.throughput import EMBEDDED, PACKAGES
from preprocessing.windows import Episode
from preprocessing.windows import Window as Clip

RESULT = ROOT / "benchmarks" / "results" / "ensemble_overhead.json"
RANDOM_TOKENS = 64  # said in every window by the random weights
_WARM_UP_CLIPS = 8
_RAMP = 0.2  # of the measured time, before it: slots and queues fill up
_TRITON_PACKAGES = (*PACKAGES, "nvidia-pytriton", "nvidia-dali-cuda130")


def main() -> None:
    """Parse arguments, measure, print, write."""
    asked = _parse()
    console = Console(highlight=False)
    report: dict[str, Any] = {
        "conditions": {
            "command": "python -m benchmarks.ensemble_overhead " + " ".join(sys.argv[1:]),
            **hardware.facts(_TRITON_PACKAGES),
            "seconds": asked.seconds,
            "in_flight": asked.in_flight,
            "recording": asked.recording.name,
        },
        "runs": [],
    }
    with tempfile.TemporaryDirectory(prefix="aircheck-overhead-") as folder:
        for name in asked.weights:
            checkpoint = "embedded" if name == "embedded" else str(_random_checkpoint(name, Path(folder)))
            settings = Settings.load(grpc_port=0, http_port=0, metrics_port=0, whisper=checkpoint)
            clips = [*Episode(asked.recording.read_bytes(), LIMITS).windows(settings.longest_window_s())]
            report["runs"].append(compared(name, settings, clips, asked.seconds, asked.in_flight, console))
            result_file.write(report, asked.out)
    console.print(Markdown(markdown(report)))
    console.print(f"written to {asked.out}")


def compared(
    name: str, settings: Settings, clips: list[Clip], seconds: float, in_flight: int, console: Console
) -> dict[str, Any]:
    """Bare engine, ensemble, bare engine again: the better of the two counts, so that a slower start favours nobody."""
    console.print(f"[bold]{name}[/] weights: {len(clips)} clips; bare engine for {seconds:g} s")
    first = bare_windows_per_s(settings, clips, seconds)
    console.print(f"  {first:.2f} windows/s; ensemble for {seconds:g} s with {in_flight} clips in flight")
    served = served_windows_per_s(settings, clips, seconds, in_flight)
    console.print(f"  {served['windows_per_s']:.2f} windows/s; bare engine again")
    bare = max(first, bare_windows_per_s(settings, clips, seconds))
    return {
        "weights": name,
        "dtype": settings.whisper_dtype,
        "clips": len(clips),
        "bare_windows_per_s": round(bare, 3),
        "ensemble_windows_per_s": round(served["windows_per_s"], 3),
        "ensemble_keeps": round(served["windows_per_s"] / bare, 4),
        "cpu_share": served["cpu_share"],
        "cores_busy": served["cores_busy"],
        "mean_batch": served["mean_batch"],
    }


def bare_windows_per_s(settings: Settings, clips: list[Clip], seconds: float) -> float:
    """The engine alone, as the model `whisper` sets it up, with its queue kept full."""
    torch.set_num_threads(1)  # the engine's own thread uses them all
    device = select_device(settings.device, {})
    whisper = load(settings.whisper, device, select_dtype(settings.whisper_dtype, device), embedded=EMBEDDED)
    log_mels = log_mels_of([clip.samples for clip in clips], whisper.model.dims.n_mels)
    windows = [Window(log_mel, clip.duration_s) for log_mel, clip in zip(log_mels, clips, strict=True)]
    slots = settings.whisper_slots or None
    threads = cpu_threads(settings.torch_threads)
    with WhisperEngine(whisper, DecodingOptions.of(settings), n_slots=slots, threads=threads) as engine:
        engine.decode(windows[:_WARM_UP_CLIPS])
        # as for the ensemble: the clock starts when the slots are full, and only windows answered under it count
        started = time.monotonic() + seconds * _RAMP
        finished = started + seconds
        answered_at: list[float] = []  # windows end in any order
        under_way: set[Future[Any]] = set()
        source: Iterator[Window] = cycle(windows)

        def note(future: Future[Any]) -> None:
            if not future.cancelled():
                answered_at.append(time.monotonic())

        while time.monotonic() < finished:
            for done in [future for future in under_way if future.done()]:
                under_way.remove(done)
                done.result()  # raises what went wrong
            future = engine.submit(next(source))  # waits while the engine's queue is full
            future.add_done_callback(note)
            under_way.add(future)
        for future in under_way:
            future.cancel()
    return sum(started <= at < finished for at in answered_at) / seconds


def served_windows_per_s(settings: Settings, clips: list[Clip], seconds: float, in_flight: int) -> dict[str, Any]:
    """A saturated ensemble on loopback; and what every process and model of it spent meanwhile."""
    encoded = [clip.wav() for clip in clips]
    with Server(settings) as server, AircheckClient(server.url, timeout_s=600, retry=Retry(attempts=1)) as client:
        with ThreadPoolExecutor(_WARM_UP_CLIPS) as pool:
            list(pool.map(client.scan_clip, encoded[:_WARM_UP_CLIPS]))
        # started before the clock, stopped after it: only clips answered within the time count, at full load
        started = time.monotonic() + seconds * _RAMP
        finished = started + seconds

        def work(first: int) -> int:
            answered, at = 0, first
            while time.monotonic() < finished:
                client.scan_clip(encoded[at % len(encoded)])
                answered += started <= time.monotonic() < finished
                at += in_flight
            return answered

        with ThreadPoolExecutor(in_flight) as pool:
            workers = [pool.submit(work, first) for first in range(in_flight)]
            time.sleep(max(0.0, started - time.monotonic()))
            cpu_before, counts_before = cpu_seconds(server), ensemble.counts(server)
            time.sleep(max(0.0, finished - time.monotonic()))
            cpu_after, counts_after = cpu_seconds(server), ensemble.counts(server)
            answered = sum(worker.result() for worker in workers)
    cpu = {name: cpu_after[name] - cpu_before.get(name, 0.0) for name in cpu_after}
    return {
        "windows_per_s": answered / seconds,
        "cpu_share": {
            name: round(s / sum(cpu.values()), 4) for name, s in sorted(cpu.items(), key=lambda one: -one[1])
        },
        "cores_busy": round(sum(cpu.values()) / seconds, 2),
        "mean_batch": ensemble.mean_batches(counts_before, counts_after),
    }


def markdown(report: dict[str, Any]) -> str:
    """The result as a table."""
    conditions = report["conditions"]
    lines = [
        f"{conditions['cpu']}, {conditions['cores']} cores; `{conditions['command'].strip()}`",
        "",
        "| weights | bare engine, windows/s | ensemble, windows/s | keeps | CPU time of the ensemble's processes |",
        "|---|---:|---:|---:|---|",
    ]
    for run in report["runs"]:
        shares = ", ".join(f"{name} {share:.1%}" for name, share in run["cpu_share"].items() if share >= 0.005)
        lines.append(
            f"| {run['weights']} | {run['bare_windows_per_s']:.2f} | {run['ensemble_windows_per_s']:.2f} | "
            f"{run['ensemble_keeps']:.1%} | {shares} |"
        )
    return "\n".join(lines)


def _random_checkpoint(shape: str, folder: Path) -> Path:
    weights.write(
        weights.random_model(weights.SHAPES[shape], 0, ends_after=RANDOM_TOKENS), folder / shape, for_transformers=False
    )
    return folder / shape / weights.OPENAI


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ensemble_overhead",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--weights",
        nargs="+",
        choices=("embedded", *weights.SHAPES),
        default=["embedded", "base"],
        help="what to serve",
    )
    parser.add_argument("--seconds", type=float, default=60, help="how long each measurement lasts (at most 600)")
    parser.add_argument("--in-flight", type=int, default=64, help="clips sent at a time (at most 256)")
    parser.add_argument("--recording", type=Path, default=ROOT / "samples" / "episode.mp3")
    result_file.add_options(parser, RESULT, markdown)
    asked = parser.parse_args()
    asked.seconds, asked.in_flight = min(asked.seconds, 600.0), min(asked.in_flight, 256)
    return asked


if __name__ == "__main__":
    main()
