"""What lower precision changes in the text: bf16 and 8-bit products against fp32, the same windows, the same weights.

    python -m benchmarks.precision                                       # embedded weights, some 200 committed windows
    python -m benchmarks.precision --whisper turbo.pt a.mp3 b.flac       # your checkpoint on your recordings

Without recordings: windows of the committed clips, each also cut off somewhere, and synthesised sounds without speech
(these need the packages of development). Decoded greedily, at temperature 0. A precision is what the setting
`whisper_dtype` or `whisper_quantization` calls it. Where a CPU emulates bf16, that takes several times as long; the
text is the same.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.markdown import Markdown
from rich.progress import track

from aircheck.inference.whisper.decoding.options import DecodingOptions
from aircheck.inference.whisper.decoding.quantization import Quantization
from aircheck.inference.whisper.engine import WhisperEngine
from aircheck.inference.whisper.weights.checkpoint import load
from aircheck.settings import ROOT
from benchmarks import hardware, result_file
from benchmarks.peers.windows import LIMITS, clip_windows, log_mels_of
from benchmarks.throughput import EMBEDDED
from benchmarks.throughput_report import agreement
from preprocessing.windows import Episode

RESULT = ROOT / "benchmarks" / "results" / "precision.json"
PRECISIONS: dict[str, tuple[torch.dtype, Quantization]] = {
    "fp32": (torch.float32, "none"),
    "bf16": (torch.bfloat16, "none"),
    "fp16": (torch.float16, "none"),
    "int8": (torch.float32, "int8"),
    "fp8": (torch.bfloat16, "fp8"),
}
OF_DEVICE = {"cpu": ("bf16", "int8"), "cuda": ("bf16", "fp16", "fp8")}
PACKAGES = ("torch", "openai-whisper", "numpy")


def main() -> None:
    """Parse arguments, decode in every precision, print, write."""
    asked = _parse()
    console = Console(highlight=False)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kinds = recorded(asked.recordings) if asked.recordings else committed(asked.windows)
    samples = [one for windows in kinds.values() for one in windows]
    report: dict[str, Any] = {
        "conditions": {
            "command": "python -m benchmarks.precision " + " ".join(sys.argv[1:]),
            **hardware.facts(PACKAGES),
            "whisper": asked.whisper,
        },
        "windows": {kind: len(windows) for kind, windows in kinds.items()},
        "precisions": {},
    }
    reference = texts(asked.whisper, "fp32", samples, device)
    for precision in track(asked.precisions or OF_DEVICE[device.type], "precisions", console=console):
        found = texts(asked.whisper, precision, samples, device)
        lines, first = {"all": agreement(reference, found)}, 0
        for kind, windows in kinds.items():
            part = slice(first, first := first + len(windows))
            lines[kind] = agreement(reference[part], found[part])
        report["precisions"][precision] = lines
        result_file.write(report, asked.out)
    console.print(Markdown(markdown(report)))
    console.print(f"written to {asked.out}")


def committed(most: int) -> dict[str, list[np.ndarray]]:
    """Windows of the committed clips, the same cut off, and sounds without speech; about a third each."""
    from training.whisper.evaluate import no_speech_windows  # needs the packages of development

    rng = random.Random(4)
    whole = clip_windows(-(-most // 3))
    cut = [one[: rng.randrange(len(one) // 4, len(one))] for one in whole]
    return {"clips": whole, "cut off": cut, "no speech": [one.samples for _, one in no_speech_windows(most // 3)]}


def recorded(paths: Sequence[Path]) -> dict[str, list[np.ndarray]]:
    """The windows of at most 30 s of each recording."""
    return {path.name: [one.samples for one in Episode(path.read_bytes(), LIMITS).windows(30.0)] for path in paths}


def texts(whisper: str, precision: str, samples: Sequence[np.ndarray], device: torch.device) -> list[str]:
    """What each window says in a precision, greedily."""
    dtype, quantization = PRECISIONS[precision]
    loaded = load(whisper, device, dtype, embedded=EMBEDDED)
    options = DecodingOptions(language="en", temperatures=(0.0,))
    log_mels = log_mels_of(samples, loaded.model.dims.n_mels)
    with WhisperEngine(loaded, options, quantization=quantization) as engine:
        return [found.text for found in engine.transcribe(log_mels, [len(one) / 16_000 for one in samples])]


def markdown(report: dict[str, Any]) -> str:
    """The result as a table."""
    counts = report["windows"]
    lines = [
        f"Text against fp32, Whisper '{report['conditions']['whisper']}', {sum(counts.values())} windows",
        "",
        "| precision | windows | identical text | WER against fp32's text |",
        "|---|---|---:|---:|",
    ]
    for precision, found in report["precisions"].items():
        lines += [
            f"| {precision} | {kind} ({counts.get(kind, sum(counts.values()))}) | {one['identical_text']:.1%} | "
            f"{one['wer_against_ours_fp32']:.3f} |"
            for kind, one in found.items()
        ]
    return "\n".join(lines)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.precision",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("recordings", type=Path, nargs="*", help="audio files; default: the committed windows")
    parser.add_argument("--whisper", default="embedded", help="'embedded', or a checkpoint, as the setting `whisper`")
    parser.add_argument("--precisions", nargs="+", choices=tuple(PRECISIONS), help="default: all here")
    parser.add_argument("--windows", type=int, default=216, help="committed windows, about (9 to 1000)")
    result_file.add_options(parser, RESULT, markdown)
    asked = parser.parse_args()
    if not 9 <= asked.windows <= 1000:
        parser.error(f"--windows {asked.windows}: between 9 and 1000")
    for path in asked.recordings:
        if not path.is_file():
            parser.error(f"{path}: no such file")
    return asked


if __name__ == "__main__":
    main()
