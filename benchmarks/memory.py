"""Whether memory grows with the file: a recording of half an hour and one of many, from client to verdict.

    python -m benchmarks.memory                        # 30 hours; about half an hour on two cores
    python -m benchmarks.memory --hours 2
    python -m benchmarks.memory --show benchmarks/results/memory.json

Both are M4B files; the long one is the short one's packets again and again. In each half hour somebody speaks for
--speech-s seconds (default: samples/episode.mp3), and the rest is soft noise, through which a machine without a GPU
gets fast enough. Verdicts grow with what is said: more speech costs client and gateway the words' own size.

Reported is the most memory that each had resident, pages shared with others included: the client (`aircheck scan
--json`, a process of its own), the gateway, and the decoder processes together, looked at every half second. The
short recording goes first, twice: a peak only ever grows, and the first scan is one in which everything is loaded.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from aircheck import hardware
from aircheck.capacity.processes import resident_mib
from aircheck.server import Server
from aircheck.settings import ROOT, Settings
from benchmarks import result_file
from benchmarks.long_recordings import HALF_HOUR_S, encode, half_hour_of, repeat
from preprocessing.decoding import SAMPLE_RATE_HZ

RESULT = ROOT / "benchmarks" / "results" / "memory.json"
SAMPLE = ROOT / "samples" / "episode.mp3"
_NOISE = 0.001  # of full scale
_EVERY_S = 0.5
PARTS = ("client", "gateway", "decoders")


def main() -> None:
    """Parse arguments, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recording", type=Path, nargs="?", default=SAMPLE, help="speech, in any format")
    parser.add_argument("--hours", type=float, default=30.0, help="of the long recording")
    parser.add_argument("--speech-s", type=float, default=20.0, help="in each half hour")
    result_file.add_options(parser, RESULT, markdown)
    asked = parser.parse_args()
    report: dict[str, Any] = {
        "conditions": {
            "command": "python -m benchmarks.memory " + " ".join(sys.argv[1:]),
            **hardware.facts(("aircheck", "av", "grpcio", "torch")),
            "speech_s_each_half_hour": asked.speech_s,
        },
        "scans": [],
    }
    with tempfile.TemporaryDirectory() as folder:
        short, long = Path(folder) / "short.m4b", Path(folder) / "long.m4b"
        encode(_half_hour(asked.recording, asked.speech_s), short, "ipod", "aac", "mono", 64_000)
        half_hours = round(asked.hours * 3600 / HALF_HOUR_S)
        repeat(short, long, half_hours)
        with Server(Settings.load(grpc_port=0, metrics_port=0), log="short") as server:
            scan(server, short, 0.5)
            for path, hours in ((short, 0.5), (long, half_hours / 2)):
                report["scans"].append(scan(server, path, hours))
                result_file.write(report, asked.out)
    print(markdown(report))


def scan(server: Server, path: Path, hours: float) -> dict[str, Any]:
    """One recording by a client of its own. Peaks in MiB. Raises SystemExit when it got no verdict."""
    command = [sys.executable, "-m", "aircheck_client.cli", "scan", str(path), "--url", server.url, "--json"]
    peaks = dict.fromkeys(PARTS, 0.0)
    begun_s = time.monotonic()
    with tempfile.TemporaryFile() as verdict:
        client = subprocess.Popen([*command, "--language", "en"], stdout=verdict)
        process = psutil.Process(client.pid)
        while client.poll() is None:
            now = {"client": process.memory_info().rss / 2**20, **resident_mib(server.pid)}
            peaks = {part: max(peaks[part], now.get(part, 0.0)) for part in PARTS}
            time.sleep(_EVERY_S)
        verdict_bytes = os.fstat(verdict.fileno()).st_size
    if client.returncode not in (0, 1):
        raise SystemExit(f"{path.name}: the client ended with status {client.returncode}")
    wall_s = time.monotonic() - begun_s
    return {
        "hours": hours,
        "file_mib": round(path.stat().st_size / 2**20, 1),
        "verdict_mib": round(verdict_bytes / 2**20, 2),
        "wall_s": round(wall_s, 1),
        "peak_mib": {part: round(peak) for part, peak in peaks.items()},
    }


def markdown(report: dict[str, Any]) -> str:
    """A row a recording, and how the longer one's peaks stand to the shorter one's."""
    short, long = (row["peak_mib"] for row in report["scans"])
    return "\n".join(
        [
            f"| M4B, hours | file, MiB | {' | '.join(f'{part}, MiB' for part in PARTS)} | took, s |",
            "|---|---|---|---|---|---|",
            *(
                f"| {row['hours']:g} | {row['file_mib']} | {' | '.join(str(row['peak_mib'][part]) for part in PARTS)} "
                f"| {row['wall_s']:.0f} |"
                for row in report["scans"]
            ),
            f"| times | | {' | '.join(f'{long[part] / short[part]:.2f}' for part in PARTS)} | |",
        ]
    )


def _half_hour(recording: Path, speech_s: float) -> np.ndarray:
    """fp32 [samples] at 16 kHz."""
    samples = half_hour_of(recording)
    n_speech = round(speech_s * SAMPLE_RATE_HZ)
    samples[n_speech:] = _NOISE * np.random.default_rng(0).standard_normal(len(samples) - n_speech, np.float32)
    return samples


if __name__ == "__main__":
    main()
