"""faster-whisper's BatchedInferencePipeline, over CTranslate2. Imports no torch, so its memory holds none."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from faster_whisper import BatchedInferencePipeline, WhisperModel
from faster_whisper.tokenizer import Tokenizer

from benchmarks.baselines import Decoded, Setup, batches, mean_length
from benchmarks.baselines.weights import ctranslate2_folder

_ON_GPU = {"int8": "int8_float16", "float32": "float16"}


class FasterWhisper:
    """`variant` is CTranslate2's quantisation, "int8" or "float32"."""

    def __init__(self, setup: Setup, variant: str) -> None:
        self._workers = setup.tuning.get("workers", 1)
        self._batch = setup.tuning.get("batch", setup.slots)
        self._model = WhisperModel(
            str(Path(setup.model) / ctranslate2_folder(variant)),
            device=setup.device,
            compute_type=variant if setup.device == "cpu" else _ON_GPU[variant],
            cpu_threads=max(1, setup.threads // self._workers),
            num_workers=self._workers,
            local_files_only=True,
        )
        self._pipeline = BatchedInferencePipeline(self._model)
        self._tokenizer = Tokenizer(
            self._model.hf_tokenizer, self._model.model.is_multilingual, task="transcribe", language="en"
        )
        # its own defaults, but greedy and with timestamps as the others; the segments are never asked for
        _, info = self._pipeline.transcribe(np.zeros(16_000, np.float32), **self._asked(vad_filter=False))
        self._options = info.transcription_options
        self._n_prompt = len(self._model.get_prompt(self._tokenizer, [], without_timestamps=False))
        self.notes = (
            "greedy (its default is 5 beams); takes features, so its feature extraction is left out as for all",
            "one length a batch: charged with the batch's mean, so no padding is wasted",
            "no temperature fallback in batches",
        )

    def run(self, log_mels: np.ndarray, lengths: Sequence[int] | None) -> list[Decoded]:
        def one_batch(part: slice) -> list[Decoded]:
            options = self._options
            if lengths is not None:
                # CTranslate2 samples min(max_length / 2, max_length - prompt) tokens; the pipeline adds the prompt
                options = replace(options, max_new_tokens=2 * mean_length(lengths[part]) - self._n_prompt)
            features = np.array(log_mels[part])  # CTranslate2 takes no read-only array
            _, found = self._pipeline.generate_segment_batched(features, self._tokenizer, options)
            return [self._decoded(one) for one in found]

        parts = batches(len(log_mels), self._batch)
        with ThreadPoolExecutor(self._workers) as pool:
            return [one for several in pool.map(one_batch, parts) for one in several]

    def gated(self, samples: Sequence[np.ndarray], log_mels: np.ndarray) -> list[str]:
        """Its default voice activity filter; its batched pipeline ignores the thresholds of confidence."""
        texts = []
        for one in samples:
            segments, _ = self._pipeline.transcribe(np.array(one), **self._asked(vad_filter=True))
            texts.append("".join(segment.text for segment in segments).strip())
        return texts

    def _asked(self, *, vad_filter: bool) -> dict[str, Any]:
        return {
            "language": "en",
            "beam_size": 1,
            "temperature": 0.0,
            "without_timestamps": False,
            "vad_filter": vad_filter,
            "batch_size": self._batch,
        }

    def _decoded(self, output: dict[str, Any]) -> Decoded:
        text = self._tokenizer.decode(output["tokens"])
        return Decoded(text.strip(), len(output["tokens"]), output["avg_logprob"], output["no_speech_prob"])


def load(setup: Setup, variant: str) -> FasterWhisper:
    return FasterWhisper(setup, variant)
