"""What the gateway costs and how soon it answers, on this machine.

    python -m benchmarks.gateway                       # all of it, about ten minutes on two cores
    python -m benchmarks.gateway --only overhead live

overhead: windows a second of one long recording through `Scan`, against the same windows sent straight to the ensemble,
          in turns, so that both see the same machine
first:    from the first byte sent to the first window's verdict
fairness: how long a clip in which somebody speaks takes while recordings are scanned, against the same clips alone
live:     from the end of a window, and from the end of each word, as it was spoken, to the verdict on it; audio is sent
          at the pace at which it plays

All on loopback, bounded in count and time. Run it on a machine at rest.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.grpc as triton
from rich.console import Console

from aircheck import hardware
from aircheck.evaluation.transcribe import LIMITS
from aircheck.server import Server
from aircheck.settings import ROOT, Settings
from aircheck_client import AircheckClient, Pcm, Retry
from benchmarks import result_file
from benchmarks.clips import sample_clips
from preprocessing.wave_file import wave_bytes
from preprocessing.windows import Episode

RESULT = ROOT / "benchmarks" / "results" / "gateway.json"
SAMPLE = ROOT / "samples" / "episode.mp3"
PACKAGES = ("aircheck", "grpcio", "nvidia-pytriton", "torch", "av")
RATE_HZ = 16_000
PIECE_S = 0.1  # of live audio that is sent at a time
CLIP_S = 5
_ONCE = Retry(attempts=1)


def main() -> None:
    """Parse arguments, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=sorted(MEASUREMENTS), default=sorted(MEASUREMENTS))
    parser.add_argument("--recording", type=Path, default=SAMPLE, help="speech in any format (default: the sample)")
    parser.add_argument("--minutes", type=float, default=8, help="of audio for `overhead`, the recording repeated")
    parser.add_argument("--turns", type=int, default=2, help="of `overhead`: gateway, then ensemble")
    parser.add_argument("--scans", type=int, default=10, help="recordings scanned at a time for `fairness`")
    parser.add_argument("--clips", type=int, default=60, help="clips sent for `fairness`, one after another")
    parser.add_argument("--live-s", type=float, default=60.0, help="seconds of the recording that `live` plays")
    result_file.add_options(parser, RESULT, markdown)
    asked = parser.parse_args()
    console = Console(highlight=False)
    report: dict[str, Any] = {
        "conditions": {
            "command": "python -m benchmarks.gateway " + " ".join(sys.argv[1:]),
            **hardware.facts(PACKAGES),
            "recording": asked.recording.name,
        }
    }
    samples = _samples(asked.recording)
    with Server(Settings.load(grpc_port=0, metrics_port=0), log="short") as server:
        report["conditions"]["whisper"] = server.settings.whisper
        with AircheckClient(server.url, retry=_ONCE, timeout_s=3600) as client:
            client.scan_clip(_wave(samples[: CLIP_S * RATE_HZ]))  # warm
            for name in asked.only:
                console.print(f"measuring {name}")
                report[name] = MEASUREMENTS[name](asked, server, client, samples)
                result_file.write(report, asked.out)
    print(markdown(report))
    console.print(f"written to {asked.out}")


def overhead(asked: Any, server: Server, client: AircheckClient, samples: np.ndarray) -> dict[str, Any]:
    """Windows a second, gateway and ensemble in turns; the median over turns, and their ratio."""
    length = int(asked.minutes * 60 * RATE_HZ)
    recording = _wave(np.resize(samples, length))
    windows = [window.wav() for window in Episode(recording, LIMITS).windows(server.settings.window_max_s)]
    rates: dict[str, list[float]] = {"gateway": [], "ensemble": []}
    for _ in range(asked.turns):
        began_s = time.perf_counter()
        n_windows = sum(verdict.scope == "window" for verdict in client.stream(recording, language="en"))
        rates["gateway"].append(n_windows / (time.perf_counter() - began_s))
        began_s = time.perf_counter()
        ask_ensemble(server, windows, "en", server.settings.episode_parallel_windows)
        rates["ensemble"].append(len(windows) / (time.perf_counter() - began_s))
    medians = {name: float(np.median(found)) for name, found in rates.items()}
    return {
        "windows": len(windows),
        "minutes": asked.minutes,
        "windows_a_second": {name: [round(rate, 3) for rate in found] for name, found in rates.items()},
        "kept": round(medians["gateway"] / medians["ensemble"], 3),
    }


def first(asked: Any, server: Server, client: AircheckClient, samples: np.ndarray) -> dict[str, Any]:
    """Seconds to the first window's verdict of a recording, nothing else being scanned."""
    recording = asked.recording.read_bytes()
    found = []
    for _ in range(5):
        began_s = time.perf_counter()
        stream = client.stream(recording)
        next(stream)
        found.append(time.perf_counter() - began_s)
        stream.close()
        time.sleep(1.0)
    return _distribution(found)


def fairness(asked: Any, server: Server, client: AircheckClient, samples: np.ndarray) -> dict[str, Any]:
    """Seconds a clip with words takes, alone and beside scans of recordings."""
    spoken = [clip for clip in sample_clips(asked.recording, CLIP_S) if client.scan_clip(clip).segments]
    if not spoken:
        raise SystemExit(f"{asked.recording.name}: nobody is heard to speak in it; give --recording")
    clips = list(itertools.islice(itertools.cycle(spoken), asked.clips))
    recording = _wave(np.tile(samples, 8))

    def each() -> list[float]:
        return [_timed(partial(client.scan_clip, clip)) for clip in clips]

    alone = each()
    is_over = threading.Event()

    def scan() -> None:
        while not is_over.is_set():
            for _ in client.stream(recording, language="en"):
                if is_over.is_set():
                    return

    with ThreadPoolExecutor(asked.scans) as pool:
        for _ in range(asked.scans):
            pool.submit(scan)
        time.sleep(10.0)
        try:
            beside = each()
        finally:
            is_over.set()
    counts = {"scans": asked.scans, "clips": len(clips), "different": len(set(clips))}
    return {**counts, "alone_s": _distribution(alone), "beside_s": _distribution(beside)}


def live(asked: Any, server: Server, client: AircheckClient, samples: np.ndarray) -> dict[str, Any]:
    played = samples[: round(asked.live_s * RATE_HZ)]
    pcm = (np.clip(played, -1, 1) * 32767).astype("<i2").tobytes()
    pcm = (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()
    piece = 2 * int(PIECE_S * RATE_HZ)
    began_s = time.perf_counter()

    def spoken() -> Iterator[bytes]:
        for at in range(0, len(pcm), piece):
            time.sleep(max(0.0, began_s + (at + piece) / (2 * RATE_HZ) - time.perf_counter()))
            yield pcm[at : at + piece]

    delays: list[float] = []
    of_words: list[float] = []
    for verdict in client.listen(spoken(), pcm=Pcm(RATE_HZ), language="en"):
        if verdict.scope == "window":
            now_s = time.perf_counter() - began_s
            delays.append(now_s - verdict.end_s)
            of_words += [now_s - word.end_s for segment in verdict.segments for word in segment.words]
    return {
        "windows": len(delays),
        "audio_s": round(len(samples) / RATE_HZ, 1),
        **_distribution(delays),
        "words": {"count": len(of_words), **_distribution(of_words)},
    }


MEASUREMENTS: dict[str, Callable[[Any, Server, AircheckClient, np.ndarray], dict[str, Any]]] = {
    "overhead": overhead,
    "first": first,
    "fairness": fairness,
    "live": live,
}


def markdown(report: dict[str, Any]) -> str:
    """The figures as a table."""
    rows = ["| | |", "|---|---|"]
    if found := report.get("overhead"):
        rows.append(f"| windows a second, of those of the ensemble alone | {100 * found['kept']:.0f} % |")
    if found := report.get("first"):
        rows.append(f"| first window's verdict, median | {found['median']:.1f} s |")
    if found := report.get("fairness"):
        for name, label in (("alone_s", "alone"), ("beside_s", f"beside {found['scans']} scans")):
            times = found[name]
            rows.append(
                f"| a clip of at most {CLIP_S} s {label}, median, p95 | {times['median']:.2f} s, {times['p95']:.2f} s |"
            )
    if found := report.get("live"):
        rows.append(f"| live: window's end to verdict, median, p95 | {found['median']:.2f} s, {found['p95']:.2f} s |")
        found = found["words"]
        rows.append(f"| live: word's end to verdict, median, p95 | {found['median']:.2f} s, {found['p95']:.2f} s |")
    return "\n".join(rows)


def ask_ensemble(server: Server, windows: list[bytes], language: str, parallel: int) -> None:
    """All windows straight to Triton, `parallel` at a time."""
    local = threading.local()

    def ask(wave: bytes) -> None:
        if not hasattr(local, "client"):
            local.client = triton.InferenceServerClient(server.triton_url)
        values = {"AUDIO": np.frombuffer(wave, np.uint8)[None], "CONTEXT": _text("{}"), "LANGUAGE": _text(language)}
        tensors = []
        for name, value in values.items():
            tensors.append(triton.InferInput(name, list(value.shape), "UINT8" if name == "AUDIO" else "BYTES"))
            tensors[-1].set_data_from_numpy(value)
        local.client.infer("audio_safety", tensors, client_timeout=600)

    with ThreadPoolExecutor(parallel) as pool:
        list(pool.map(ask, windows))


def _text(value: str) -> np.ndarray:
    return np.array([[value.encode()]], dtype=np.object_)


def _samples(recording: Path) -> np.ndarray:
    """fp32 [samples] at 16 kHz."""
    windows = Episode(recording.read_bytes(), LIMITS).windows(30.0)
    return np.concatenate([window.samples for window in windows])


def _wave(samples: np.ndarray) -> bytes:
    return wave_bytes(samples[None], RATE_HZ)


def _timed(act: Callable[[], object]) -> float:
    began_s = time.perf_counter()
    act()
    return time.perf_counter() - began_s


def _distribution(seconds: list[float]) -> dict[str, float]:
    points = {"median": 50, "p90": 90, "p95": 95}
    found = {name: round(float(np.percentile(seconds, at)), 3) for name, at in points.items()}
    return {**found, "max": round(max(seconds), 3)}


if __name__ == "__main__":
    main()
