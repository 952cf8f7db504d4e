"""Text where nobody speaks: how many windows without speech each engine puts words into.

    python -m benchmarks.hallucination ../shared/data/sounds                        # 500 windows, every engine
    python -m benchmarks.hallucination MANIFEST --windows 100 --engines ours openai-whisper

The windows are the recorded sounds of a JSONL manifest (`file` and `label`; labels that begin with "speech" are left
out), and noises, hums and digital silence of 2 to 30 s beside them, as many as are missing. All engines have the same
weights. Counted twice for each:

  before   windows with text when it decodes greedily, at temperature 0, without any safeguard
  after    windows with text that passes its own documented safeguard:
             ours            speech activity, temperature fallback, openai-whisper's silence test: what the server does
             ours-int8       the same with int8 matmuls
             openai-whisper  transcribe() with its defaults: fallback, and windows it takes for silence dropped
             faster-whisper  its default voice activity filter; its batches have no fallback and no thresholds
             transformers    fallback and thresholds with the values its documentation gives

Each engine runs in a process of its own, bounded in time. The baselines need: pip install -e '.[baselines]'.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.markdown import Markdown
from rich.progress import track

from aircheck import hardware
from aircheck.inference.whisper.weights.checkpoint import load
from aircheck.settings import ROOT
from benchmarks import baselines, result_file
from benchmarks.baselines import weights
from benchmarks.baselines.subprocess_run import EngineFailedError, run
from benchmarks.baselines.windows import log_mels_of
from benchmarks.baselines.worker import Job, Outcome
from benchmarks.throughput import PACKAGES, is_installed
from benchmarks.wer.recordings import SAMPLE_RATE_HZ, samples
from preprocessing.clip import N_SAMPLES

RESULT = ROOT / "benchmarks" / "results" / "hallucination.json"
ENGINES = ("ours", "ours-int8", "openai-whisper", "faster-whisper-int8", "faster-whisper-fp32", "transformers")
_SYNTHETIC = ("white noise", "pink noise", "hum", "silence")
_LEVELS_DB = (-60.0, -10.0)


def main() -> None:
    """Parse arguments, run every engine, print, write."""
    asked = _parse()
    console = Console(highlight=False)
    kinds, sounds = windows(asked.manifest, asked.windows)
    report: dict[str, Any] = {
        "conditions": {
            "command": "python -m benchmarks.hallucination " + " ".join(sys.argv[1:]),
            **hardware.facts(PACKAGES),
            "whisper": asked.whisper,
            "dtype": asked.dtype,
            "threads": asked.threads,
        },
        "windows": len(sounds),
        "kinds": dict(Counter(kinds)),
        "engines": [],
    }
    with tempfile.TemporaryDirectory(prefix="aircheck-hallucination-") as scratch:
        folder = Path(scratch)
        names = [name for name in asked.engines if is_installed(name)]
        _prepare(folder, asked.whisper, names, sounds)
        for name in track(names, "engines", console=console):
            job = Job(
                engine=name,
                model=str(folder),
                log_mels=str(folder / "log_mels.npy"),
                lengths=None,
                threads=asked.threads,
                slots=asked.slots,
                dtype=asked.dtype,
                device="cpu",
                repeats=0 if asked.only_after else 1,
                samples=str(folder / "samples.npz"),
            )
            try:
                report["engines"].append({"engine": name, **counted(kinds, run(job, asked.limit))})
            except EngineFailedError as error:
                report["engines"].append({"engine": name, "error": str(error)})
            result_file.write(report, asked.out)
    console.print(Markdown(markdown(report)))
    console.print(f"written to {asked.out}")


def windows(manifest: Path, most: int, seed: int = 0) -> tuple[list[str], list[np.ndarray]]:
    """Labels, and windows of at most 30 s: fp32 [samples] at 16 kHz each."""
    path = manifest / "manifest.jsonl" if manifest.is_dir() else manifest
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    recorded = [line for line in lines if not line["label"].startswith("speech")][:most]
    labels = [str(line["label"]) for line in recorded]
    sounds = [samples(str(path.parent / line["file"]))[:N_SAMPLES] for line in recorded]
    rng = np.random.default_rng(seed)
    for index in range(most - len(sounds)):
        labels.append(_SYNTHETIC[index % len(_SYNTHETIC)])
        sounds.append(_synthetic(labels[-1], rng))
    return labels, sounds


def _synthetic(kind: str, rng: np.random.Generator) -> np.ndarray:
    """2 to 30 s of a noise or a hum at any level, or of silence with a dither of 16 bits: fp32 [samples]"""
    n = int(rng.uniform(2, 30) * SAMPLE_RATE_HZ)
    dither = rng.uniform(-1, 1, n) / 32768
    level = 10 ** (rng.uniform(*_LEVELS_DB) / 20)
    if kind == "silence":
        return dither.astype(np.float32)
    if kind == "hum":
        times = np.arange(n) / SAMPLE_RATE_HZ
        mains_hz = rng.choice((50.0, 60.0))
        shape = sum(np.sin(2 * np.pi * mains_hz * times * k + rng.uniform(0, 6)) / k for k in range(1, 8))
    else:
        spectrum = np.fft.rfft(rng.standard_normal(n))
        falling = np.maximum(np.arange(len(spectrum)), 1) ** (0.5 if kind == "pink noise" else 0.0)
        shape = np.fft.irfft(spectrum / falling, n)
    return (shape / np.std(shape) * level + dither).clip(-1, 1).astype(np.float32)


def counted(kinds: Sequence[str], outcome: Outcome) -> dict[str, Any]:
    """Windows with at least one word, before and after the engine's safeguard, and which kinds of sound they hold.

    `before` is None where it was not measured.
    """
    before = [has_words(one["text"]) for one in outcome.decoded]
    after = [has_words(text) for text in outcome.gated or ()]
    if len(before) not in (0, len(kinds)) or len(after) != len(kinds):
        raise EngineFailedError(f"{len(kinds)} windows went in, {len(before)} and {len(after)} came out")
    return {
        "before": sum(before) if before else None,
        "after": sum(after),
        "before_by_kind": dict(Counter(kind for kind, wrote in zip(kinds, before, strict=False) if wrote)),
        "after_by_kind": dict(Counter(kind for kind, wrote in zip(kinds, after, strict=True) if wrote)),
        "examples_after": [text for text in outcome.gated or () if has_words(text)][:5],
    }


def has_words(text: str) -> bool:
    """Whether it holds anything but white space and punctuation, in any script."""
    return any(character.isalnum() for character in text)


def markdown(report: dict[str, Any]) -> str:
    """The result as a table."""
    conditions = report["conditions"]
    lines = [
        f"Windows without speech, of {report['windows']}, with text ({conditions['whisper']}, {conditions['dtype']})",
        "",
        "| engine | before its safeguard | after | most often in |",
        "|---|---:|---:|---|",
    ]
    for one in report["engines"]:
        if "error" in one:
            lines.append(f"| {one['engine']} | failed: {one['error'].splitlines()[-1]} | | |")
            continue
        kinds = Counter(one["after_by_kind"]).most_common(3)
        often = ", ".join(f"{kind} {count}" for kind, count in kinds)
        before = "" if one["before"] is None else one["before"]
        lines.append(f"| {one['engine']} | {before} | {one['after']} | {often} |")
    return "\n".join(lines)


def _prepare(folder: Path, whisper: str, names: Sequence[str], sounds: Sequence[np.ndarray]) -> None:
    model = load(whisper, torch.device("cpu"), torch.float32).model
    known = [baselines.BASELINES[name] for name in names]
    quantisations = tuple(one.variant for one in known if one.module == "faster")
    weights.write(model, folder, for_transformers="transformers" in names, quantisations=quantisations)
    np.save(folder / "log_mels.npy", log_mels_of(sounds, model.dims.n_mels))
    np.savez(folder / "samples.npz", **{str(index): one for index, one in enumerate(sounds)})


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.hallucination",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("manifest", type=Path, help="JSONL, or the folder of a manifest.jsonl")
    parser.add_argument("--windows", type=int, default=500, help="windows without speech (1 to 5000)")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=[*ENGINES])
    parser.add_argument("--whisper", default="base", help="a checkpoint, as the setting `whisper`")
    parser.add_argument("--dtype", choices=("fp32", "bf16"), default="fp32", help="of ours and transformers")
    parser.add_argument("--only-after", action="store_true", help="leave out the runs without safeguards")
    parser.add_argument("--slots", type=int, default=16, help="windows decoded at a time; the baselines' batch size")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads of every engine; 0: one per core")
    parser.add_argument("--limit", type=float, default=3600, help="most seconds for one engine")
    result_file.add_options(parser, RESULT, markdown)
    asked = parser.parse_args()
    if not 1 <= asked.windows <= 5000:
        parser.error(f"--windows {asked.windows}: between 1 and 5000")
    asked.threads = asked.threads or hardware.n_cores()
    return asked


if __name__ == "__main__":
    main()
