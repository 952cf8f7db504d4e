"""Word error rates of Whisper engines on recordings of people, and their speed in the same run.

    python -m benchmarks.wer ../shared/data/speech                  # the server's dtype, and whisper.transcribe
    python -m benchmarks.wer MANIFEST --engines ours-fp32 ours-bf16 openai-whisper faster-whisper-int8
    python -m benchmarks.wer MANIFEST --join-minutes 60             # the same recordings in long files
    python -m benchmarks.wer MANIFEST --resume FOLDER               # go on where a broken-off run stopped

The manifest is JSONL, a recording a line: file (relative to it), text, language, speaker, seconds. Every engine has
the same weights, detects the language itself, and decodes greedily with openai-whisper's temperature fallback. Each
runs in a process of its own with the same number of threads; its time covers decoding the audio and the log-mel too.
The reference is `whisper.transcribe`: recordings on which ours differs from it are listed, and how far segments' times
lie apart. In joined files they are also set against where each recording begins and ends to be loud: the truth.

What faster-whisper needs: pip install -e '.[bench,baselines]'.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markdown import Markdown

from aircheck import hardware
from aircheck.evaluation.transcribe import Transcription
from aircheck.evaluation.words import IN_CHARACTERS
from aircheck.settings import ROOT
from benchmarks import result_file
from benchmarks.wer import recordings as recordings_of
from benchmarks.wer import scores
from benchmarks.wer.engines import ENGINES
from benchmarks.wer.recordings import Recording

RESULT = ROOT / "benchmarks" / "results" / "wer.json"
PACKAGES = ("torch", "openai-whisper", "faster-whisper", "ctranslate2", "jiwer", "numpy")
REFERENCE = "openai-whisper"


def main() -> None:
    """Parse arguments, run every engine, print, write."""
    asked = _parse()
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory(prefix="aircheck-wer-") as scratch:
        folder = asked.resume or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        taken = recordings_of.first(recordings_of.read(asked.manifest), asked.recordings)
        if asked.join_minutes:
            taken = recordings_of.join(taken, asked.join_minutes * 60, folder)
        report = _report(asked, taken)
        found: dict[str, list[Transcription]] = {}
        for name in asked.engines:
            console.print(f"{name}: {ENGINES[name]}")
            try:
                found[name], took = transcribed(name, taken, asked.whisper, asked.threads, folder)
            except EngineFailedError as error:
                report["engines"].append({"engine": name, "error": str(error)})
                continue
            figures = scores.figures(taken, found[name])
            if any(one.parts for one in taken):
                figures["timing"] = scores.timing(found[name], [one.parts for one in taken], taken)
            report["engines"].append({"engine": name, **figures, **took})
            _compare(report, taken, found)
            result_file.write(report, asked.out)  # a long run that is broken off leaves what it has
    result_file.write(report, asked.out)
    console.print(Markdown(markdown(report)))
    console.print(f"written to {asked.out}")


class EngineFailedError(RuntimeError):
    """An engine's process failed; the message is the end of its output."""


def transcribed(
    engine: str, taken: Sequence[Recording], whisper: str, threads: int, folder: Path
) -> tuple[list[Transcription], dict[str, Any]]:
    """Each recording's transcription, and the speed of what was not there already. Raises EngineFailedError."""
    out = folder / f"{engine}.jsonl"
    lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()] if out.is_file() else []
    done = {line["path"] for line in lines if "path" in line}
    left = [one for one in taken if one.path not in done]
    if left:
        job = folder / "job.json"
        fields = {"engine": engine, "whisper": whisper, "threads": threads, "out": str(out)}
        job.write_text(json.dumps({**fields, "recordings": [one.as_dict() for one in left]}))
        limits = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
        command = [sys.executable, "-m", "benchmarks.wer.worker", str(job)]
        ended = subprocess.run(command, cwd=ROOT, env=os.environ | limits, capture_output=True, text=True, check=False)
        if ended.returncode != 0:
            raise EngineFailedError("\n".join(ended.stderr.strip().splitlines()[-8:]))
        lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    found = {line["path"]: Transcription.of(line) for line in lines if "path" in line}
    sessions = [line["took"] for line in lines if "took" in line]  # those that were not broken off
    audio_s, seconds, cpu_s = (sum(one[name] for one in sessions) for name in ("audio_s", "seconds", "cpu_s"))
    took = {
        "audio_s_per_s": round(audio_s / seconds, 2) if seconds else None,
        "audio_s_per_cpu_s": round(audio_s / cpu_s, 2) if cpu_s else None,  # also of use on a machine that others use
        "measured_on_s": round(audio_s, 1),
        "peak_memory_mib": round(max((one["peak_memory_mib"] for one in sessions), default=0)),
    }
    return [found[one.path] for one in taken], took


def markdown(report: dict[str, Any]) -> str:
    """The result as tables, with its conditions."""
    conditions = report["conditions"]
    lines = [
        f"Whisper '{conditions['whisper']}'; {report['recordings']} recordings, {report['audio_s'] / 60:.1f} minutes; "
        f"{conditions['cpu']} ({', '.join(conditions['instruction_sets'])}), {conditions['threads']} threads, load at "
        f"start {conditions['load_average_at_start']}; {conditions['date']}.",
        "",
        f"`{conditions['command'].strip()}`",
        "",
        "| engine | errors | 95 % interval | median speaker | worst speaker | wrong language | audio s/s | of a core |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for one in report["engines"]:
        if "error" in one:
            lines.append(f"| {one['engine']} | failed: {one['error'].splitlines()[-1]} |")
            continue
        interval = " to ".join(f"{bound:.1%}" for bound in one["interval_95"] or ())
        worst = one["speakers"]["worst"][0]
        cells = [one["engine"], f"{one['rate']:.2%}", interval, f"{one['speakers']['median_rate']:.1%}"]
        cells += [f"{worst['rate']:.0%}", str(one["wrong_language"]), f"{one['audio_s_per_s'] or 0:.1f}"]
        cells.append(f"{one['audio_s_per_cpu_s'] or 0:.1f}")
        lines.append(f"| {' | '.join(cells)} |")
    languages = sorted({name for one in report["engines"] for name in one.get("by_language", ())})
    lines += ["", f"| engine | {' | '.join(_titled(name) for name in languages)} |", f"|---|{'---:|' * len(languages)}"]
    for one in report["engines"]:
        if "error" not in one:
            rates = [f"{one['by_language'][name]['rate']:.1%}" for name in languages]
            lines.append(f"| {one['engine']} | {' | '.join(rates)} |")
    for one in report["engines"]:
        if "timing" in one:
            lines += [
                "",
                f"{one['engine']} against where each joined recording is heard to begin and end: {_apart(one)}.",
            ]
    for name, found in report["against_reference"].items():
        lines += [
            "",
            f"{name} against {REFERENCE}: {found['points']:+.2f} points; {len(found['differences'])} recordings differ "
            f"by two errors or more; {_apart(found)}.",
        ]
    return "\n".join(lines)


def _apart(found: dict[str, Any]) -> str:
    start, end = found["timing"]["start"], found["timing"]["end"]
    return (
        f"segments' starts lie {start['median_s']} s apart (median of {start['segments']}), "
        f"their ends {end['median_s']} s (of {end['segments']})"
    )


def _titled(language: str) -> str:
    return f"{language} (characters)" if language in IN_CHARACTERS else language


def _compare(report: dict[str, Any], taken: Sequence[Recording], found: dict[str, list[Transcription]]) -> None:
    """Set ours against the reference, once both are there."""
    if REFERENCE not in found:
        return
    rates = {one["engine"]: one["rate"] for one in report["engines"] if "rate" in one}
    for name in found:
        if name != REFERENCE:
            report["against_reference"][name] = {
                "points": round((rates[name] - rates[REFERENCE]) * 100, 3),
                "timing": scores.timing(found[name], [one.segments for one in found[REFERENCE]], taken),
                "differences": scores.differences(taken, found[name], found[REFERENCE]),
            }


def _report(asked: argparse.Namespace, taken: Sequence[Recording]) -> dict[str, Any]:
    return {
        "conditions": {
            "command": "python -m benchmarks.wer " + " ".join(sys.argv[1:]),
            **hardware.facts(PACKAGES),
            "whisper": asked.whisper,
            "threads": asked.threads,
        },
        "recordings": len(taken),
        "audio_s": round(sum(one.duration_s for one in taken), 1),
        "engines": [],
        "against_reference": {},
    }


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.wer",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="engines:\n" + "\n".join(f"  {name:<30}{what}" for name, what in ENGINES.items()),
    )
    served = "ours-bf16" if hardware.has_fast_bf16() else "ours-fp32"
    parser.add_argument("manifest", type=Path, help="JSONL, or the folder of a manifest.jsonl")
    parser.add_argument("--engines", nargs="+", choices=tuple(ENGINES), default=[REFERENCE, served])
    parser.add_argument("--whisper", default="base", help="a checkpoint, as the setting `whisper`")
    parser.add_argument("--recordings", type=int, help="take only so many, evenly spread")
    parser.add_argument("--join-minutes", type=float, default=0, help="join them to long files, so many minutes in all")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads of every engine; 0: one per core")
    parser.add_argument("--resume", type=Path, help="folder that keeps transcriptions; what it holds is not done again")
    result_file.add_options(parser, RESULT, markdown)
    asked = parser.parse_args()
    asked.threads = asked.threads or hardware.n_cores()
    try:
        recordings_of.read(asked.manifest)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    return asked


if __name__ == "__main__":
    main()
