"""Text where nobody speaks: how many windows without speech each engine puts words into.

    python -m benchmarks.hallucination                                    # 500 windows, every engine
    python -m benchmarks.hallucination --windows 1000 --engines ours openai-whisper

The windows are synthesised: noises, hums, tones, music, applause and the like of 2 to 6 s, one in twenty digital
silence, by seeds of their own that no training has used. The weights are the embedded ones, the same for all. Counted
twice for each engine:

  before   windows with text when it decodes greedily, at temperature 0, without any safeguard
  after    windows with text that passes its own documented safeguard:
             ours            temperature fallback, openai-whisper's silence test, and the policy's gate of confidence
                             (text it doubts never blocks by itself)
             ours-int8       the same, its products in int8
             openai-whisper  transcribe() with its defaults: fallback, and windows it takes for silence dropped
             faster-whisper  its default voice activity filter; its batches have no fallback and no thresholds
             transformers    fallback and thresholds with the values its documentation gives

Each engine runs in a process of its own, bounded in time. It needs the packages of development, which hold the sounds:
pip install -e '.[dev,peers]'.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markdown import Markdown
from rich.progress import track

from aircheck.inference.whisper.weights.checkpoint import from_path
from aircheck.settings import ROOT
from benchmarks import hardware, peers, result_file
from benchmarks.peers import weights
from benchmarks.peers.subprocess_run import EngineFailedError, run
from benchmarks.peers.windows import log_mels_of
from benchmarks.peers.worker import Job, Outcome
from benchmarks.quality.words import normalised
from benchmarks.throughput import EMBEDDED, PACKAGES, is_installed

RESULT = ROOT / "benchmarks" / "results" / "hallucination.json"
ENGINES = ("ours", "ours-int8", "openai-whisper", "faster-whisper-int8", "faster-whisper-fp32", "transformers")


def main() -> None:
    """Parse arguments, run every engine, print, write."""
    asked = _parse()
    from training.whisper.evaluate import no_speech_windows  # needs the packages of development

    console = Console(highlight=False)
    made = no_speech_windows(asked.windows)
    kinds, samples = [kind for kind, _ in made], [window.samples for _, window in made]
    report: dict[str, Any] = {
        "conditions": {
            "command": "python -m benchmarks.hallucination " + " ".join(sys.argv[1:]),
            **hardware.facts(PACKAGES),
            "weights": "embedded",
            "dtype": "fp32",
            "threads": asked.threads,
        },
        "windows": len(made),
        "kinds": dict(Counter(kinds)),
        "engines": [],
    }
    with tempfile.TemporaryDirectory(prefix="aircheck-hallucination-") as scratch:
        folder = Path(scratch)
        names = [name for name in asked.engines if is_installed(name)]
        _prepare(folder, names, samples)
        for name in track(names, "engines", console=console):
            job = Job(
                engine=name,
                model=str(folder),
                log_mels=str(folder / "log_mels.npy"),
                lengths=None,
                threads=asked.threads,
                slots=asked.slots,
                dtype="fp32",
                device="cpu",
                samples=str(folder / "samples.npz"),
            )
            try:
                report["engines"].append({"engine": name, **counted(kinds, run(job, asked.limit))})
            except EngineFailedError as error:
                report["engines"].append({"engine": name, "error": str(error)})
            result_file.write(report, asked.out)
    console.print(Markdown(markdown(report)))
    console.print(f"written to {asked.out}")


def counted(kinds: Sequence[str], outcome: Outcome) -> dict[str, Any]:
    """Windows with at least one word, before and after the engine's safeguard, and which kinds of sound they hold."""
    before = [bool(normalised(one["text"])) for one in outcome.decoded]
    after = [bool(normalised(text)) for text in outcome.gated or ()]
    if not len(before) == len(after) == len(kinds):
        raise EngineFailedError(f"{len(kinds)} windows went in, {len(before)} and {len(after)} came out")
    return {
        "before": sum(before),
        "after": sum(after),
        "before_by_kind": dict(Counter(kind for kind, wrote in zip(kinds, before, strict=True) if wrote)),
        "after_by_kind": dict(Counter(kind for kind, wrote in zip(kinds, after, strict=True) if wrote)),
        "examples_after": [text for text in outcome.gated or () if normalised(text)][:5],
    }


def markdown(report: dict[str, Any]) -> str:
    """The result as a table."""
    lines = [
        f"Windows without speech, of {report['windows']}, that got text (embedded weights, fp32)",
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
        lines.append(f"| {one['engine']} | {one['before']} | {one['after']} | {often} |")
    return "\n".join(lines)


def _prepare(folder: Path, names: Sequence[str], samples: Sequence[np.ndarray]) -> None:
    model = from_path(EMBEDDED)
    quantisations = tuple(peers.PEERS[name].variant for name in names if peers.PEERS[name].module == "faster")
    weights.write(model, folder, for_transformers="transformers" in names, quantisations=quantisations)
    np.save(folder / "log_mels.npy", log_mels_of(samples, model.dims.n_mels))
    np.savez(folder / "samples.npz", **{str(index): one for index, one in enumerate(samples)})


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.hallucination",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--windows", type=int, default=500, help="windows without speech (1 to 5000)")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=[*ENGINES])
    parser.add_argument("--slots", type=int, default=16, help="windows decoded at a time; the peers' batch size")
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
