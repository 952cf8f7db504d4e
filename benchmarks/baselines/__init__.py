"""Whisper engines to compare: ours and its baselines, one small module each, all behind the same two calls.

Nothing heavy is imported here: an engine's process imports that engine only, so its peak memory is its own.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np


@dataclass(frozen=True)
class Setup:
    """How an engine is to run.

    model : folder that `benchmarks.baselines.weights.write` made
    threads : CPU threads
    slots : windows decoded at a time: decoding slots, or the batch size
    dtype : what torch engines compute in, "fp32", "bf16" or "fp16"
    device : "cpu" or "cuda"
    tuning : settings of this engine's own, one of those that its `tunings` offers
    """

    model: Path
    threads: int
    slots: int
    dtype: str
    device: str
    tuning: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Decoded:
    """What an engine made of one window. n_tokens counts sampled tokens; None: the engine does not tell."""

    text: str
    n_tokens: int
    avg_logprob: float | None = None
    no_speech_prob: float | None = None


class Engine(Protocol):
    """One engine, with its model loaded."""

    notes: tuple[str, ...]
    """What a reader of its figures should know: what it was spared, what it cannot do."""

    def run(self, log_mels: np.ndarray, lengths: Sequence[int] | None) -> list[Decoded]:
        """Decode windows, greedily, with timestamps, at temperature 0.

        log_mels : fp32 [windows, n_mels, 3000]
        lengths : how many tokens to sample in each window; None: as many as it takes
        """
        ...

    def gated(self, samples: Sequence[np.ndarray], log_mels: np.ndarray) -> list[str]:
        """The text of each window that is left by the engine's own documented safeguards.

        samples : fp32 at 16 kHz, before padding; log_mels : the same windows, padded to 30 s
        """
        ...


@dataclass(frozen=True)
class Baseline:
    """Where an engine lives and what it needs."""

    module: str
    variant: str
    packages: tuple[str, ...]
    what: str


BASELINES = {
    "ours": Baseline("ours", "in-flight", ("torch",), "aircheck's engine: decoding slots, in-flight batching"),
    "ours-int8": Baseline("ours", "int8", ("torch",), "the same with int8 matmuls (whisper_quantization)"),
    "ours-fp32": Baseline("ours", "in-flight", ("torch",), "the same in fp32, whatever --dtype says"),
    "ours-static": Baseline("ours", "static", ("torch",), "the same, a batch of `slots` windows at a time"),
    "ours-encoder": Baseline("ours", "encoder", ("torch",), "the encoder of aircheck's engine alone"),
    "openai-whisper": Baseline(
        "openai",
        "single",
        ("openai-whisper", "torch"),
        "whisper.decode, one window after another, as transcribe() does",
    ),
    "openai-whisper-batch": Baseline(
        "openai", "batch", ("openai-whisper", "torch"), "whisper.decode of a batch of windows"
    ),
    "faster-whisper-int8": Baseline(
        "faster", "int8", ("faster-whisper", "ctranslate2"), "BatchedInferencePipeline over CTranslate2, int8"
    ),
    "faster-whisper-fp32": Baseline(
        "faster", "float32", ("faster-whisper", "ctranslate2"), "BatchedInferencePipeline over CTranslate2, fp32"
    ),
    "transformers": Baseline(
        "hugging_face", "batch", ("transformers", "torch"), "WhisperForConditionalGeneration.generate, batched"
    ),
}
APART = ("ours-fp32", "ours-static", "ours-encoder")
"""Parts and forms of ours that answer questions of their own."""
COMPARED = tuple(name for name in BASELINES if name not in APART)
"""Those that are compared by default."""


def load(name: str, setup: Setup) -> Engine:
    """Load an engine in this process."""
    baseline = BASELINES[name]
    module: Any = importlib.import_module(f"benchmarks.baselines.{baseline.module}")
    engine: Engine = module.load(setup, baseline.variant)
    return engine


def tunings(name: str, threads: int, slots: int) -> list[dict[str, int]]:
    """Settings of an engine's own that its documentation leaves to the user; the fastest in a pilot is taken."""
    if BASELINES[name].module != "faster":
        return [{}]
    one_queue = [{"batch": slots, "workers": 1}, {"batch": max(1, slots // 2), "workers": 1}]
    return [*one_queue, {"batch": max(1, slots // 2), "workers": threads}] if threads > 1 else one_queue


def batches(n_windows: int, size: int) -> list[slice]:
    """Windows in order, `size` at a time."""
    return [slice(first, min(first + size, n_windows)) for first in range(0, n_windows, size)]


def mean_length(lengths: Sequence[int]) -> int:
    """What an engine that takes one length a batch is charged with: as many tokens in all, and none for padding."""
    return round(sum(lengths) / len(lengths))
