"""transformers: WhisperForConditionalGeneration.generate on batches, what its speech-recognition pipeline runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedTokenizerFast,
    WhisperForConditionalGeneration,
    logging,
)

from benchmarks.baselines import Decoded, Setup, batches
from benchmarks.baselines.weights import TRANSFORMERS

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_TEMPERATURES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
_COMPRESSION_RATIO_THRESHOLD = 1.35  # its documentation's; it compresses token ids, not text


class EndAt(LogitsProcessor):
    """Ends each row after its own number of sampled tokens, the end of text being the last of them."""

    def __init__(self, lengths: Sequence[int], eos: int, device: torch.device) -> None:
        self._lengths = torch.tensor(lengths, device=device)
        self._eos = eos
        self._n_prompt: int | None = None

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        if self._n_prompt is None:
            self._n_prompt = input_ids.shape[1]
        ends = self._lengths <= input_ids.shape[1] - self._n_prompt + 1
        scores = scores.masked_fill(ends[:, None], float("-inf"))
        scores[ends, self._eos] = 0.0
        return scores


class HuggingFace:
    def __init__(self, setup: Setup) -> None:
        logging.set_verbosity_error()
        torch.set_num_threads(setup.threads)
        folder = Path(setup.model) / TRANSFORMERS
        whisper: Any = WhisperForConditionalGeneration  # its mixins' types do not fit each other
        self._model = whisper.from_pretrained(folder, dtype=_DTYPES[setup.dtype], local_files_only=True)
        self._model.to(setup.device).eval()
        self._tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
        config = self._model.generation_config
        self._eos = int(config.eos_token_id)
        self._timestamps = int(config.no_timestamps_token_id) + 1
        self._language = {"language": "en", "task": "transcribe"} if config.is_multilingual else {}
        self._prompt = {int(config.decoder_start_token_id)}
        if config.is_multilingual:
            self._prompt |= {config.lang_to_id["<|en|>"], config.task_to_id["transcribe"]}
        self._batch = setup.slots
        self.notes = (
            f"computes in {setup.dtype}",
            "one pass a window: its loop, which decodes again after the last timestamp, is not entered",
            "the forced end of text counts as a sampled token",
        )

    @torch.inference_mode()
    def run(self, log_mels: np.ndarray, lengths: Sequence[int] | None) -> list[Decoded]:
        found: list[Decoded] = []
        for part in batches(len(log_mels), self._batch):
            features = self._features(log_mels[part])
            forced = LogitsProcessorList()
            if lengths is not None:
                forced.append(EndAt(lengths[part], self._eos, features.device))
            rows = self._model.generate(
                features,
                logits_processor=forced,
                return_timestamps=True,
                force_unique_generate_call=True,
                **self._language,
            )
            found += [self._decoded(row.tolist()) for row in rows]
        return found

    @torch.inference_mode()
    def gated(self, samples: Sequence[np.ndarray], log_mels: np.ndarray) -> list[str]:
        """Its documented fallback and no-speech thresholds, with the values that its documentation gives."""
        torch.manual_seed(0)
        texts = []
        for part in batches(len(log_mels), self._batch):
            rows = self._model.generate(
                self._features(log_mels[part]),
                return_timestamps=True,
                temperature=_TEMPERATURES,
                logprob_threshold=-1.0,
                no_speech_threshold=0.6,
                compression_ratio_threshold=_COMPRESSION_RATIO_THRESHOLD,
                **self._language,
            )
            texts += [self._decoded(row.tolist()).text for row in rows]
        return texts

    def _features(self, log_mels: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.array(log_mels)).to(self._model.device, self._model.dtype)

    def _decoded(self, row: list[int]) -> Decoded:
        row = [int(token) for token in row]
        while row and row[0] in self._prompt:
            del row[0]
        n_tokens = row.index(self._eos) + 1 if self._eos in row else len(row)
        said = [token for token in row[:n_tokens] if token < self._eos]
        return Decoded(self._tokenizer.decode(said).strip(), n_tokens)


def load(setup: Setup, variant: str) -> HuggingFace:
    return HuggingFace(setup)
