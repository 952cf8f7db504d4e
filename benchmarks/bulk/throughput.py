"""How full a job keeps a server, and what an item costs it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from aircheck.evaluation.transcribe import LIMITS
from aircheck.server import Server
from benchmarks.bulk.catalogue import EPISODE, quiet_clips
from benchmarks.bulk.kills import start_job
from benchmarks.gateway import ask_ensemble
from preprocessing.wave_file import wave_bytes
from preprocessing.windows import Episode

RATE_HZ = 16_000
PARALLEL = 16  # windows that the bare ensemble gets at a time
SAMPLE_EVERY_S = 0.25


def against_ensemble(server: Server, folder: Path, recordings: int, minutes: float, turns: int) -> dict[str, Any]:
    """Audio seconds a second of whole jobs, from their start to their end, and of the same windows sent to Triton.

    In turns, so that both see the same machine; the median over turns, and their ratio.
    """
    files = recordings_of(folder / "archive", recordings, minutes)
    windows = [
        window.wav()
        for file in files
        for window in Episode(file.read_bytes(), LIMITS).windows(server.settings.window_max_s)
    ]
    audio_s = recordings * minutes * 60
    rates: dict[str, list[float]] = {"bulk": [], "ensemble": []}
    for turn in range(turns):
        begun_s = time.perf_counter()
        job = start_job(server.url, folder / "archive", folder / f"out-{turn}")
        if job.wait():
            raise RuntimeError(f"the job ended with {job.returncode}")
        rates["bulk"].append(audio_s / (time.perf_counter() - begun_s))
        begun_s = time.perf_counter()
        ask_ensemble(server, windows, "", PARALLEL)
        rates["ensemble"].append(audio_s / (time.perf_counter() - begun_s))
    medians = {name: float(np.median(found)) for name, found in rates.items()}
    return {
        "recordings": recordings,
        "minutes_each": minutes,
        "windows": len(windows),
        "audio_s_per_s": {name: [round(rate, 2) for rate in found] for name, found in rates.items()},
        "kept": round(medians["bulk"] / medians["ensemble"], 3),
    }


def short_items(server: Server, folder: Path, count: int) -> dict[str, Any]:
    """`count` clips of half a second of silence: time and CPU of the job for each, and its memory on the way."""
    quiet_clips(folder / "clips", count)
    begun_s = time.perf_counter()
    job = start_job(server.url, folder / "clips", folder / "out", "--log", str(folder / "log.jsonl"))
    process, memory_mib, cpu_s = psutil.Process(job.pid), [], 0.0
    while job.poll() is None:
        try:
            if rss := process.memory_info().rss:  # none: it has ended
                memory_mib.append(rss / 2**20)
            times = process.cpu_times()
            cpu_s = times.user + times.system
        except psutil.NoSuchProcess:
            break
        time.sleep(SAMPLE_EVERY_S)
    took_s = time.perf_counter() - begun_s
    again_s = time.perf_counter()
    start_job(server.url, folder / "clips", folder / "out").wait()
    again_s = time.perf_counter() - again_s
    tenth = max(1, len(memory_mib) // 10)
    return {
        "items": count,
        "exit_code": job.wait(),
        "seconds": round(took_s, 1),
        "items_per_s": round(count / took_s, 1),
        "job_cpu_ms_per_item": round(1000 * cpu_s / count, 2),
        "job_memory_mib": {
            "after_a_tenth": round(memory_mib[tenth], 1),
            "half_way": round(memory_mib[len(memory_mib) // 2], 1),
            "at_the_end": round(memory_mib[-1], 1),
            "peak": round(max(memory_mib), 1),
        },
        "second_run_seconds": round(again_s, 1),
    }


def recordings_of(folder: Path, count: int, minutes: float) -> list[Path]:
    """The sample's sound over and over, each recording from another place on."""
    folder.mkdir(parents=True, exist_ok=True)
    sound = np.concatenate([window.samples for window in Episode(EPISODE.read_bytes(), LIMITS).windows(30.0)])
    files = []
    for number in range(count):
        path = folder / f"{number:03}.wav"
        shifted = np.roll(sound, -number * 7 * RATE_HZ)
        path.write_bytes(wave_bytes(np.resize(shifted, int(minutes * 60 * RATE_HZ))[None], RATE_HZ))
        files.append(path)
    return files
