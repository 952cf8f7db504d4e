"""Triton model `whisper`: LOG_MEL and DURATION of windows in; TEXT, SEGMENTS (JSON) and LANGUAGE out."""

import json
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from aircheck.inference.batching import split, strings
from aircheck.inference.device import select_device, set_threads
from aircheck.inference.whisper.checkpoint import load
from aircheck.inference.whisper.decoding import DecodingOptions
from aircheck.inference.whisper.engine import WhisperEngine, WindowError, select_dtype
from aircheck.inference.whisper.segments import WindowTranscript
from aircheck.settings import Settings

EMBEDDED_CHECKPOINT = Path(__file__).parent / "whisper.safetensors"


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        settings = Settings.load()
        set_threads(settings.torch_threads)
        device = select_device(settings.device, args)
        dtype = select_dtype(settings.whisper_dtype, device)
        whisper = load(settings.whisper, device, dtype, embedded=EMBEDDED_CHECKPOINT)
        self.engine = WhisperEngine(
            whisper, DecodingOptions(language=None if settings.language == "auto" else settings.language)
        )

    def execute(self, requests: list[Any]) -> list[Any]:
        windows = [_windows(request) for request in requests]
        responses = [self._refusal(*given) for given in windows]
        good = [given for given, refusal in zip(windows, responses, strict=True) if refusal is None]
        if good:
            log_mels = np.concatenate([log_mels for log_mels, _ in good])
            transcripts = self.engine.transcribe(
                log_mels, list(chain.from_iterable(durations for _, durations in good))
            )
            answers = iter(split(transcripts, [len(durations) for _, durations in good]))
            responses = [refusal or _response(next(answers)) for refusal in responses]
        return responses

    def _refusal(self, log_mels: np.ndarray, durations_s: list[float]) -> Any:
        """The error response for a request that cannot be transcribed, so that its neighbours still are; or None."""
        try:
            self.engine.check(log_mels, durations_s)
        except WindowError as error:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error), pb_utils.TritonError.INVALID_ARG))
        return None


def _windows(request: Any) -> tuple[np.ndarray, list[float]]:
    """A request's log-mels [B, n_mels, 3000] and durations [B] in seconds."""
    log_mels, durations_s = (
        pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in ("LOG_MEL", "DURATION")
    )
    return log_mels, durations_s.ravel().tolist()


def _response(transcripts: Sequence[WindowTranscript]) -> Any:
    segments = [json.dumps([segment.model_dump() for segment in window.segments]) for window in transcripts]
    return pb_utils.InferenceResponse(
        [
            pb_utils.Tensor("TEXT", strings([window.text for window in transcripts])),
            pb_utils.Tensor("SEGMENTS", strings(segments)),
            pb_utils.Tensor("LANGUAGE", strings([window.language for window in transcripts])),
        ]
    )
