"""Decoding in sandboxed processes: how fast, at what cost, how late the first window is, and in how much memory.

    python -m benchmarks.decoding
    python -m benchmarks.decoding SPEECH.flac --hours 30
    python -m benchmarks.decoding --show benchmarks/results/decoding.json

The recording (default: samples/episode.mp3) is repeated to half an hour, as MP3, 44.1 kHz stereo, 128 kbit/s. Measured:

  pool      as many such files at a time as there are processes: seconds of audio for each second of wall clock, and for
            each second of CPU time of the decoder processes; and until the first window is there
  stages    CPU seconds for an hour of audio, in this process: FFmpeg, mixing and resampling; finding where windows end
  clip      milliseconds from a clip of 5 s to its window, in a warm decoder process and in this one, the median of 50
  memory    the most that the gateway's part (this process) and the decoder process have resident, pages shared with
            others included, for an M4B of half an hour and for one of --hours, which is the first one repeated
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.markdown import Markdown

from aircheck import hardware
from aircheck.gateway.decoding import DecoderPool, SandboxLimits, Spool, SpoolQuota
from aircheck.settings import ROOT
from benchmarks import result_file
from benchmarks.long_recordings import HALF_HOUR_S, LIMITS, encode, half_hour_of, repeat
from preprocessing.decoding import SAMPLE_RATE_HZ, DecodeReport, decode
from preprocessing.windows import Episode, cut

RESULT = ROOT / "benchmarks" / "results" / "decoding.json"
SAMPLE = ROOT / "samples" / "episode.mp3"
WINDOW_MAX_S = 30.0
CLIP_S = 5.0
_CHUNK_BYTES = 2**18
_CLIPS = 50


@dataclass(frozen=True)
class Run:
    """One recording through a pool."""

    audio_s: float
    first_window_s: float
    cpu_s: float
    peak_mib: float  # of the decoder process


def main() -> None:
    """Parse arguments, measure, print, write."""
    asked = _parse()
    torch.set_num_threads(1)
    report: dict[str, Any] = {
        "conditions": {
            "command": "python -m benchmarks.decoding " + " ".join(sys.argv[1:]),
            **hardware.facts(("av", "torch", "numpy")),
        }
    }
    with tempfile.TemporaryDirectory() as folder:
        half_hour = Path(folder) / "half_hour.mp3"
        samples = half_hour_of(asked.recording)
        encode(samples, half_hour, "mp3", "libmp3lame", "stereo", 128_000)
        report["stages"] = stages(half_hour.read_bytes())
        report["pool"] = [asyncio.run(throughput(half_hour, processes)) for processes in (1, 2)]
        clip = Path(folder) / "clip.mp3"
        encode(samples[: round(CLIP_S * SAMPLE_RATE_HZ)], clip, "mp3", "libmp3lame", "stereo", 128_000)
        report["clip"] = asyncio.run(clips(clip))
        if asked.hours:
            short, long = Path(folder) / "short.m4b", Path(folder) / "long.m4b"
            encode(samples, short, "ipod", "aac", "mono", 64_000)
            repeat(short, long, round(asked.hours * 3600 / HALF_HOUR_S))
            report["memory"] = [asyncio.run(memory(path)) for path in (short, long)]
    result_file.write(report, asked.out)
    Console().print(Markdown(markdown(report)))


def stages(data: bytes) -> dict[str, float]:
    """CPU seconds for an hour of audio."""
    begun_s = time.process_time()
    blocks = list(decode(data, LIMITS, DecodeReport()))
    decoded_s = time.process_time()
    for _ in cut(blocks, WINDOW_MAX_S):
        pass
    hours = HALF_HOUR_S / 3600
    return {
        "decode_cpu_s_per_hour": round((decoded_s - begun_s) / hours, 2),
        "cut_cpu_s_per_hour": round((time.process_time() - decoded_s) / hours, 2),
    }


async def throughput(path: Path, processes: int) -> dict[str, Any]:
    """As many recordings at a time as processes, after one that warms them up."""
    with tempfile.TemporaryDirectory() as folder:
        quota = SpoolQuota(Path(folder), 2**34, 2**34)
        async with DecoderPool(SandboxLimits(), processes) as pool:
            await asyncio.gather(*(_scan(pool, quota, path, HALF_HOUR_S / 10) for _ in range(processes)))
            begun_s = time.monotonic()
            runs = await asyncio.gather(*(_scan(pool, quota, path) for _ in range(processes)))
            wall_s = time.monotonic() - begun_s
    audio_s, cpu_s = sum(run.audio_s for run in runs), sum(run.cpu_s for run in runs)
    return {
        "processes": processes,
        "audio_s_per_s": round(audio_s / wall_s),
        "audio_s_per_cpu_s": round(audio_s / cpu_s),
        "cpu_s_per_hour": round(3600 * cpu_s / audio_s, 2),
        "first_window_s": round(max(run.first_window_s for run in runs), 3),
    }


async def clips(path: Path) -> dict[str, float]:
    """Milliseconds, the median."""
    data = path.read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        quota = SpoolQuota(Path(folder), 2**30, 2**30)
        async with DecoderPool(SandboxLimits(), 1) as pool:
            in_pool = [await _seconds(_scan(pool, quota, path)) for _ in range(_CLIPS)]
    here = []
    for _ in range(_CLIPS):
        begun_s = time.perf_counter()
        for window in Episode(data, LIMITS).windows(WINDOW_MAX_S):
            window.wav()
        here.append(time.perf_counter() - begun_s)
    return {"pool_ms": _median_ms(in_pool), "here_ms": _median_ms(here)}


async def memory(path: Path) -> dict[str, Any]:
    """A whole recording; the peak of a process only ever grows, so the longest comes last."""
    with tempfile.TemporaryDirectory() as folder:
        quota = SpoolQuota(Path(folder), 2**34, 2**34)
        async with DecoderPool(SandboxLimits(), 1) as pool:
            begun_s = time.monotonic()
            run = await _scan(pool, quota, path)
            wall_s = time.monotonic() - begun_s
    return {
        "hours": round(run.audio_s / 3600, 2),
        "file_mib": round(path.stat().st_size / 2**20),
        "decoder_peak_mib": round(run.peak_mib),
        "gateway_peak_mib": round(hardware.peak_memory_mib()),
        "first_window_s": round(run.first_window_s, 2),
        "audio_s_per_s": round(run.audio_s / wall_s),
    }


async def _scan(pool: DecoderPool, quota: SpoolQuota, path: Path, until_s: float = float("inf")) -> Run:
    """Uploads the file as the decoder wants it, and reads its windows."""
    spool = Spool.create(quota)

    async def upload() -> None:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                await spool.room()
                await spool.append(chunk)
        spool.complete()

    begun_s, first_s, audio_s = time.monotonic(), 0.0, 0.0
    uploading = asyncio.create_task(upload())
    try:
        async with pool.decode(spool, LIMITS, WINDOW_MAX_S) as decoding:
            before_s = decoding.cpu_before_s
            async for window in decoding.windows():
                first_s = first_s or time.monotonic() - begun_s
                audio_s = window.start_s + window.duration_s
                if audio_s >= until_s:
                    break
            cpu_s = decoding.cpu_used_s() - before_s
            return Run(audio_s, first_s, cpu_s, hardware.peak_memory_mib(decoding.pid))
    finally:
        uploading.cancel()
        await asyncio.gather(uploading, return_exceptions=True)
        spool.close()


async def _seconds(work: Any) -> float:
    begun_s = time.perf_counter()
    await work
    return time.perf_counter() - begun_s


def _median_ms(times_s: list[float]) -> float:
    return round(1000 * statistics.median(times_s), 1)


def markdown(report: dict[str, Any]) -> str:
    """The tables of a result."""
    stage, clip = report["stages"], report["clip"]
    lines = [
        f"CPU seconds for an hour of MP3, 44.1 kHz stereo: {stage['decode_cpu_s_per_hour']} to decode, "
        f"{stage['cut_cpu_s_per_hour']} to find where windows end. A clip of {CLIP_S:g} s: {clip['pool_ms']} ms in a "
        f"decoder process, {clip['here_ms']} ms in the caller's.",
        "",
        "| processes | audio s a second | audio s a CPU second | CPU s an hour | first window after, s |",
        "|---|---|---|---|---|",
        *(
            f"| {row['processes']} | {row['audio_s_per_s']} | {row['audio_s_per_cpu_s']} | {row['cpu_s_per_hour']} "
            f"| {row['first_window_s']} |"
            for row in report["pool"]
        ),
    ]
    if "memory" in report:
        lines += [
            "",
            "| M4B, hours | file, MiB | decoder's peak, MiB | gateway's part, MiB | first window after, s |",
            "|---|---|---|---|---|",
            *(
                f"| {row['hours']} | {row['file_mib']} | {row['decoder_peak_mib']} | {row['gateway_peak_mib']} "
                f"| {row['first_window_s']} |"
                for row in report["memory"]
            ),
        ]
    return "\n".join(lines)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recording", type=Path, nargs="?", default=SAMPLE)
    parser.add_argument("--hours", type=float, default=30.0, help="length of the long M4B; 0: memory is not measured")
    result_file.add_options(parser, RESULT, markdown)
    return parser.parse_args()


if __name__ == "__main__":
    main()
