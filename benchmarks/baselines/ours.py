"""aircheck's engine: in-flight batching; also the same engine fed one static batch at a time, and its encoder alone."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from aircheck.inference.whisper.decoding.encoder import WindowEncoder
from aircheck.inference.whisper.decoding.options import DecodedPass, DecodingOptions
from aircheck.inference.whisper.decoding.quantization import Quantization
from aircheck.inference.whisper.engine import DTYPES, WhisperEngine, Window
from aircheck.inference.whisper.scheduling.model_runner import GRAPHED
from aircheck.inference.whisper.weights.checkpoint import load as load_checkpoint
from benchmarks.baselines import Decoded, Setup, batches
from benchmarks.baselines.weights import OPENAI
from preprocessing.speech_activity import speech_activity

_WINDOW_S = 30.0
_SAMPLE_RATE_HZ = 16_000


class Ours:
    """`variant` is "in-flight", "int8" (in flight too) or "static"."""

    def __init__(self, setup: Setup, variant: str) -> None:
        torch.set_num_threads(setup.threads)
        self._variant, self._slots, self._threads = variant, setup.slots, setup.threads
        self._loaded = load_checkpoint(str(Path(setup.model) / OPENAI), torch.device(setup.device), DTYPES[setup.dtype])
        self._engine = self._start(DecodingOptions(language="en", temperatures=(0.0,), seek=False))
        self.notes: tuple[str, ...] = ()
        if variant == "static":
            self.notes = ("each batch of `slots` windows is waited for before the next is sent",)

    def run(self, log_mels: np.ndarray, lengths: Sequence[int] | None) -> list[Decoded]:
        limits: Sequence[int | None] = lengths if lengths is not None else [None] * len(log_mels)
        # static: a batch is waited for before the next is sent; in flight: all are sent, as fast as they are taken
        size = self._slots if self._variant == "static" else len(log_mels)
        found: list[tuple[DecodedPass, ...]] = []
        for part in batches(len(log_mels), size):
            sent = [
                self._engine.submit(Window(torch.from_numpy(np.array(log_mel)), _WINDOW_S, max_tokens=limit))
                for log_mel, limit in zip(log_mels[part], limits[part], strict=True)
            ]
            found += [future.result() for future in sent]
        return [self._decoded(one) for one in found]

    def gated(self, samples: Sequence[np.ndarray], log_mels: np.ndarray) -> list[str]:
        """Speech activity, temperature fallback and openai-whisper's silence test, as the server."""
        spans = [speech_activity().spans(one) for one in samples]
        speech = [tuple((span.start_s, span.end_s) for span in its) for its in spans]
        with self._start(DecodingOptions()) as engine:
            found = engine.transcribe(log_mels, [len(one) / _SAMPLE_RATE_HZ for one in samples], speech)
        return [one.text for one in found]

    def _start(self, options: DecodingOptions) -> WhisperEngine:
        quantization: Quantization = "int8" if self._variant == "int8" else "none"
        return WhisperEngine(
            self._loaded, options, n_slots=self._slots, quantization=quantization, threads=self._threads
        )

    def _decoded(self, passes: tuple[DecodedPass, ...]) -> Decoded:
        window = passes[0].decoded  # one pass a window, as the other engines decode it
        tokenizer = self._loaded.tokenizer
        text = tokenizer.decode([token for token in window.tokens if token < tokenizer.eot])
        return Decoded(text.strip(), len(window.tokens), window.avg_logprob, window.no_speech_prob)


class OursEncoder:
    """Our encoder alone, at work as in the engine: 16 windows at once on a GPU; on a CPU one at a time on each core."""

    notes: tuple[str, ...] = ()

    def __init__(self, setup: Setup) -> None:
        self._device = torch.device(setup.device)
        loaded = load_checkpoint(str(Path(setup.model) / OPENAI), self._device, DTYPES[setup.dtype])
        self._encoder = WindowEncoder(loaded.model.encoder)
        on_cpu = setup.device == "cpu"
        self._batch = 1 if on_cpu else GRAPHED.encode_batch
        self._pool = ThreadPoolExecutor(setup.threads if on_cpu else 1, "encoder", torch.set_num_threads, (1,))

    def run(self, log_mels: np.ndarray, lengths: Sequence[int] | None) -> list[Decoded]:
        @torch.inference_mode()
        def encode(part: slice) -> None:
            self._encoder.encode(torch.from_numpy(np.array(log_mels[part])).to(self._device))

        list(self._pool.map(encode, batches(len(log_mels), self._batch)))
        if self._device.type == "cuda":
            torch.cuda.synchronize()
        return []


def load(setup: Setup, variant: str) -> Ours | OursEncoder:
    return OursEncoder(setup) if variant == "encoder" else Ours(setup, variant)
