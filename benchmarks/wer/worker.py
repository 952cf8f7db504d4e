"""Runs one engine in a process of its own: `python -m benchmarks.wer.worker JOB.json`; a transcription a line."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from aircheck.hardware import peak_memory_mib
from benchmarks.wer.engines import Setup, start
from benchmarks.wer.recordings import Recording


def main() -> None:
    """Transcribe the job's recordings; append each transcription to its `out`, and at the end what it took."""
    job = json.loads(Path(sys.argv[1]).read_text())
    recordings = [Recording(**fields) for fields in job["recordings"]]
    transcribe = start(job["engine"], Setup(job["whisper"], job["threads"]), Path(sys.argv[1]).parent)
    started, spent_s = time.perf_counter(), time.process_time()
    with Path(job["out"]).open("a", encoding="utf-8") as out:
        for transcription in transcribe(recordings):
            out.write(json.dumps(transcription.as_dict(), ensure_ascii=False) + "\n")
            out.flush()
        took = {
            "audio_s": sum(one.duration_s for one in recordings),
            "seconds": time.perf_counter() - started,
            "cpu_s": time.process_time() - spent_s,
            "peak_memory_mib": peak_memory_mib(),
        }
        out.write(json.dumps({"took": took}) + "\n")


if __name__ == "__main__":
    main()
