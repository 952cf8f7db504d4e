"""openai-whisper: its own `decode`, a window at a time as its `transcribe` does, or a batch of windows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import whisper
from whisper.decoding import DecodingResult
from whisper.tokenizer import get_tokenizer

from benchmarks.baselines import Decoded, Setup, batches, mean_length
from benchmarks.baselines.weights import OPENAI


class OpenAI:
    """`variant` is "single" or "batch"."""

    def __init__(self, setup: Setup, variant: str) -> None:
        torch.set_num_threads(setup.threads)
        self._model = whisper.load_model(str(Path(setup.model) / OPENAI), device=setup.device)
        self._half = setup.device != "cpu"  # its default, which a CPU does not have
        self._eot = get_tokenizer(self._model.is_multilingual, num_languages=self._model.num_languages).eot
        self._batch = setup.slots if variant == "batch" else 1
        self.notes: tuple[str, ...] = ("fp32 on a CPU, fp16 on a GPU: it offers nothing else",)
        if variant == "batch":
            self.notes += ("its batch has one length for all: charged with the batch's mean, so no padding is wasted",)

    def run(self, log_mels: np.ndarray, lengths: Sequence[int] | None) -> list[Decoded]:
        found: list[DecodingResult] = []
        for part in batches(len(log_mels), self._batch):
            options = whisper.DecodingOptions(
                language="en", fp16=self._half, sample_len=mean_length(lengths[part]) if lengths is not None else None
            )
            found += whisper.decode(
                self._model, torch.from_numpy(np.array(log_mels[part])).to(self._model.device), options
            )
        return [self._decoded(one) for one in found]

    def gated(self, samples: Sequence[np.ndarray], log_mels: np.ndarray) -> list[str]:
        """`whisper.transcribe` with its defaults: temperature fallback, and windows it takes for silence dropped."""
        torch.manual_seed(0)
        texts = []
        for one in samples:
            result = whisper.transcribe(
                self._model, torch.from_numpy(np.array(one)), language="en", fp16=self._half, verbose=None
            )
            texts.append(str(result["text"]).strip())
        return texts

    def _decoded(self, result: DecodingResult) -> Decoded:
        n_tokens = len(result.tokens)
        return Decoded(result.text.strip(), n_tokens, result.avg_logprob, result.no_speech_prob)


def load(setup: Setup, variant: str) -> OpenAI:
    return OpenAI(setup, variant)
