"""Whisper engines against each other: the same weights, the same windows, one run on one machine.

    python -m benchmarks.throughput ../shared/data/speech              # base and tiny.en on recordings, where installed
    python -m benchmarks.throughput MANIFEST --whisper base --engines ours ours-int8 faster-whisper-int8
    python -m benchmarks.throughput --shapes small --windows 96        # an official shape whose weights are not here

Two kinds of runs:

  real weights      on the English recordings of a manifest (benchmarks.wer says what it holds), a window each. Each
                    engine generates what it hears; word error rates against our fp32 text show that all do the same.
  random weights    of an official shape. Speed only. Every engine samples the same number of tokens in each window:
                    lengths are drawn from a fixed distribution (lognormal, mean about 64, 8 to 200) and forced.

Fair by construction: log-mels are computed once, outside all timings; every engine has a process of its own with the
same number of threads; each is warmed up; the best of --repeats rounds counts; what an engine cannot do is charged in
its favour and written beside its figure. Baselines that are not installed are left out with a word:

    pip install -e '.[baselines]'

Run it on a machine at rest: the result holds the load at the start.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.markdown import Markdown
from whisper.model import ModelDimensions, Whisper

from aircheck import hardware
from aircheck.inference.whisper.weights import weight_packages
from aircheck.inference.whisper.weights.checkpoint import load
from aircheck.settings import ROOT
from benchmarks import baselines, result_file, roofline
from benchmarks.baselines import weights
from benchmarks.baselines.subprocess_run import EngineFailedError, run
from benchmarks.baselines.windows import LENGTHS, forced_lengths, log_mels_of, speech_windows
from benchmarks.baselines.worker import Job, Outcome
from benchmarks.throughput_report import add_roofline, agreement, figures, markdown, summary

PACKAGES = ("torch", "openai-whisper", "faster-whisper", "ctranslate2", "transformers", "numpy")
RESULT = ROOT / "benchmarks" / "results" / "throughput.json"
GPU_SHAPES = ("turbo", "large-v3")
CPU_SHAPES = ("tiny", "base", "small")
PACKAGED = tuple(name for name in weight_packages.PACKAGES if weight_packages.find(name) is not None)
"""Official weights that are installed."""


@dataclass(frozen=True)
class Options:
    """What the command was asked for."""

    engines: tuple[str, ...]
    slots: int
    threads: int
    dtype: str
    device: str
    repeats: int
    limit_s: float
    pilot: bool


def main() -> None:
    """Parse arguments, run every engine, print, write."""
    options, asked = _parse()
    console = Console(highlight=False)
    conditions = {
        "command": "python -m benchmarks.throughput " + " ".join(sys.argv[1:]),
        **hardware.facts(PACKAGES),
        **{name: value for name, value in asdict(options).items() if name != "engines"},
        "seed": asked.seed,
        "lengths": LENGTHS,
    }
    report: dict[str, Any] = {"conditions": conditions, "rates": {}, "runs": []}
    with tempfile.TemporaryDirectory(prefix="aircheck-throughput-") as folder:
        bench = Bench(options, Path(folder), console)
        rates = bench.rates()
        for name in asked.whisper if asked.manifest else ():
            report["runs"].append(bench.real_run(name, asked.manifest, asked.windows))
            result_file.write(report, asked.out)
        for shape in asked.shapes:
            report["runs"].append(bench.random_run(shape, asked.windows, asked.seed))
            result_file.write(report, asked.out)  # a long run that is broken off leaves what it has
        rates = rates.best_of(bench.rates())
    report["rates"] = rates.as_dict()
    for item in report["runs"]:
        add_roofline(item, rates)
    result_file.write(report, asked.out)
    console.print(Markdown(markdown(report)))
    console.print(f"written to {asked.out}")


class Bench:
    """Runs engines one after another, each in its own process, in a scratch folder."""

    def __init__(self, options: Options, folder: Path, console: Console) -> None:
        self._options, self._folder, self._console = options, folder, console

    def rates(self) -> roofline.Rates:
        """What the machine does at this moment."""
        self._console.print("measuring matrix products and memory bandwidth")
        return roofline.measure(self._options.device, self._options.threads)

    def random_run(self, shape: str, n_windows: int, seed: int) -> dict[str, Any]:
        """Every engine on random weights of `shape`, with forced lengths."""
        dims = weights.SHAPES[shape]
        lengths = forced_lengths(n_windows, seed)
        self._console.print(f"[bold]{shape}[/], random weights: {n_windows} windows, {sum(lengths)} tokens")
        folder = self._folder / shape
        self._write_weights(weights.random_model(dims, seed), folder)
        log_mels = folder / "log_mels.npy"
        noise = np.random.default_rng(seed).standard_normal((n_windows, dims.n_mels, 3000), dtype=np.float32)
        np.save(log_mels, noise)
        engines, _ = self._compare(folder, log_mels, lengths, self._engines() + self._ours_apart())
        return {"weights": "random", "shape": shape, "lengths": lengths, **self._summary(dims, n_windows, engines)}

    def real_run(self, whisper: str, manifest: Path, n_windows: int) -> dict[str, Any]:
        """Every engine on a checkpoint's own weights and recordings, generating what it hears."""
        model = load(whisper, torch.device("cpu"), torch.float32).model
        samples = speech_windows(manifest, n_windows)
        self._console.print(f"[bold]{whisper}[/]: {len(samples)} recordings")
        folder = self._folder / "real" / Path(whisper).name
        self._write_weights(model, folder)
        np.save(folder / "log_mels.npy", log_mels_of(samples, model.dims.n_mels))
        names = ["ours-fp32", *self._engines(), *self._ours_apart()]
        if self._options.dtype == "fp32":
            names.remove("ours-fp32")
        engines, texts = self._compare(folder, folder / "log_mels.npy", None, names)
        reference = texts.get("ours-fp32") or texts.get("ours")
        for engine in engines:
            if reference and texts.get(engine["engine"]):
                engine |= agreement(reference, texts[engine["engine"]])
        audio_s = sum(map(len, samples)) / 16_000
        found = self._summary(model.dims, len(samples), engines)
        return {"weights": "real", "shape": Path(whisper).name, "speech_s": round(audio_s, 1), **found}

    def _summary(self, dims: ModelDimensions, n_windows: int, engines: list[dict[str, Any]]) -> dict[str, Any]:
        return {"slots": self._options.slots, **summary(dims, n_windows, engines)}

    def _write_weights(self, model: Whisper, folder: Path) -> None:
        names = self._engines()
        quantisations = tuple(
            baselines.BASELINES[name].variant for name in names if baselines.BASELINES[name].module == "faster"
        )
        weights.write(model, folder, for_transformers="transformers" in names, quantisations=quantisations)

    def _engines(self) -> list[str]:
        names = [name for name in self._options.engines if is_installed(name)]
        return [name for name in names if name != "ours-int8" or self._options.device == "cpu"]

    def _ours_apart(self) -> list[str]:
        return ["ours-static", "ours-encoder"] if "ours" in self._options.engines else []

    def _compare(
        self, folder: Path, log_mels: Path, lengths: list[int] | None, names: Sequence[str]
    ) -> tuple[list[dict[str, Any]], dict[str, list[str]]]:
        """Each engine's figures, and its texts."""
        lines: list[dict[str, Any]] = []
        texts: dict[str, list[str]] = {}
        with self._console.status("") as status:
            for name in names:
                status.update(f"{name} ({len(lines) + 1} of {len(names)})")
                try:
                    tuning = self._best_tuning(name, folder, log_mels, lengths)
                    outcome = self._run(name, folder, log_mels, lengths, tuning, self._options.repeats)
                    lines.append(figures(name, outcome, tuning, lengths))
                    texts[name] = [one["text"] for one in outcome.decoded]
                    self._console.print(f"  {name:<22} {min(outcome.seconds):8.2f} s")
                except EngineFailedError as error:  # the others go on; the failure is part of the result
                    lines.append({"engine": name, "error": str(error)})
                    self._console.print(f"  [red]{name}[/]: {error}")
        return lines, texts

    def _best_tuning(self, name: str, folder: Path, log_mels: Path, lengths: list[int] | None) -> dict[str, int]:
        """The fastest of an engine's own settings on the first windows."""
        options = self._options
        offered = baselines.tunings(name, options.threads, options.slots)
        if len(offered) == 1 or not options.pilot:
            return offered[0]
        n_pilot = 2 * options.slots
        few = folder / "pilot.npy"
        np.save(few, np.load(log_mels, mmap_mode="r")[:n_pilot])
        limits = lengths and lengths[:n_pilot]
        took_s = [min(self._run(name, folder, few, limits, tuning, 1).seconds) for tuning in offered]
        return offered[took_s.index(min(took_s))]

    def _run(
        self, name: str, folder: Path, log_mels: Path, lengths: list[int] | None, tuning: dict[str, int], repeats: int
    ) -> Outcome:
        options = self._options
        job = Job(
            engine=name,
            model=str(folder),
            log_mels=str(log_mels),
            lengths=lengths,
            threads=options.threads,
            slots=options.slots,
            dtype="fp32" if name == "ours-fp32" else options.dtype,
            device=options.device,
            repeats=repeats,
            budget_s=options.limit_s / 3,
            tuning=tuning,
        )
        return run(job, options.limit_s)


def is_installed(name: str) -> bool:
    """Whether an engine's package is there."""
    return baselines.BASELINES[name].module != "faster" or find_spec("faster_whisper") is not None


def _parse() -> tuple[Options, argparse.Namespace]:
    on_gpu = torch.cuda.is_available()
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.throughput",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="engines:\n" + "\n".join(f"  {name:<22}{baselines.BASELINES[name].what}" for name in baselines.COMPARED),
    )
    shapes = (*CPU_SHAPES, *GPU_SHAPES)
    parser.add_argument("manifest", type=Path, nargs="?", help="recordings, for real weights")
    parser.add_argument(
        "--shapes",
        nargs="*",
        choices=shapes,
        help="official shapes to give random weights; default: turbo, large-v3 on a GPU, none beside a manifest, else "
        "small",
    )
    parser.add_argument(
        "--whisper", nargs="+", default=[*PACKAGED], help="checkpoints for the manifest; default: those installed"
    )
    parser.add_argument("--engines", nargs="+", choices=baselines.COMPARED, default=[*baselines.COMPARED])
    parser.add_argument("--windows", type=int, default=64, help="windows of 30 s in each run (4 to 4096)")
    parser.add_argument(
        "--slots", type=int, default=128 if on_gpu else 16, help="windows decoded at a time; the baselines' batch size"
    )
    parser.add_argument("--threads", type=int, default=0, help="CPU threads of every engine; 0: one per core")
    parser.add_argument(
        "--dtype",
        choices=("auto", "fp32", "bf16"),
        default="auto",
        help="of ours and transformers; auto: bf16 where the hardware multiplies it, else fp32",
    )
    parser.add_argument("--repeats", type=int, default=2, help="rounds of each engine; the best counts (1 to 20)")
    parser.add_argument("--limit", type=float, default=3600, help="most seconds for one engine in one run")
    parser.add_argument(
        "--no-pilot", dest="pilot", action="store_false", help="take each baseline's first settings untried"
    )
    parser.add_argument("--seed", type=int, default=0, help="of random weights, windows and the order of lengths")
    result_file.add_options(parser, RESULT, markdown)
    asked = parser.parse_args()
    if asked.shapes is None:
        asked.shapes = [*GPU_SHAPES] if on_gpu else [] if asked.manifest else ["small"]
    if not 4 <= asked.windows <= 4096:
        parser.error(f"--windows {asked.windows}: between 4 and 4096")
    if not 1 <= asked.slots <= 1024:
        parser.error(f"--slots {asked.slots}: between 1 and 1024")
    left_out = [name for name in asked.engines if not is_installed(name)]
    if left_out:
        print(f"not installed, left out: {', '.join(left_out)} (pip install -e '.[baselines]')", file=sys.stderr)
    dtype = asked.dtype
    if dtype == "auto":
        dtype = "bf16" if on_gpu or hardware.has_fast_bf16() else "fp32"
    options = Options(
        engines=tuple(asked.engines),
        slots=asked.slots,
        threads=asked.threads or hardware.n_cores(),
        dtype=dtype,
        device="cuda" if on_gpu else "cpu",
        repeats=min(max(asked.repeats, 1), 20),
        limit_s=asked.limit,
        pilot=asked.pilot,
    )
    return options, asked


if __name__ == "__main__":
    main()
