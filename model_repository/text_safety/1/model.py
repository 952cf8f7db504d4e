"""Triton model `text_safety`: transcripts in, category scores out. The logic is `aircheck.inference`."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import triton_python_backend_utils as pb_utils

from aircheck.inference import memory
from aircheck.inference.batching import strings, texts
from aircheck.inference.device import select_device, side_threads
from aircheck.inference.text_safety.errors import TranscriptError
from aircheck.inference.text_safety.profanity import Profanity
from aircheck.inference.text_safety.sentences import sentence_before
from aircheck.inference.text_safety.service import classify, load, parse_transcript, window_scores
from aircheck.policy.coverage import with_languages
from aircheck.policy.errors import RequestError
from aircheck.policy.own import own_of
from aircheck.settings import Settings
from aircheck_client.schema import Segment, TextFindings


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        settings = Settings.load()
        device = select_device(settings.device, args)
        torch.set_num_threads(side_threads(settings.cpu_threads, device))
        self._profanity = Profanity(settings.profanity_dir)
        self._classifier = load(settings.text_classifier, settings.text_labels, device)
        memory.trim()

    def execute(self, requests: list[Any]) -> list[Any]:
        """Classifies the windows of all readable requests in one batch; an unreadable one fails alone."""
        windows = [_windows(request) for request in requests]
        readable = [window for part in windows if not isinstance(part, Exception) for window in part]
        segments, before = [window[0] for window in readable], [window[1] for window in readable]
        findings = iter(classify(self._classifier, segments, self._profanity, before))
        return [
            _failure(part) if isinstance(part, Exception) else _response([next(findings) for _ in part])
            for part in windows
        ]


def _windows(request: Any) -> list[tuple[list[Segment], str]] | TranscriptError | RequestError:
    """Of each window, its segments, and the sentence that was said before them."""
    try:
        own = own_of(request.parameters())
        values = texts(pb_utils.get_input_tensor_by_name(request, "TRANSCRIPT").as_numpy())
        segments = [list(with_languages(parse_transcript(value))) for value in values]
    except (TranscriptError, RequestError) as error:
        return error
    return [(window, sentence_before(own, window) if own else "") for window in segments]


def _failure(error: Exception) -> Any:
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error), pb_utils.TritonError.INVALID_ARG))


def _response(findings: list[TextFindings]) -> Any:
    return pb_utils.InferenceResponse(
        [
            pb_utils.Tensor("TEXT_SCORES", np.stack([window_scores(item) for item in findings])),
            pb_utils.Tensor("TEXT_FINDINGS", strings([item.model_dump_json() for item in findings])),
        ]
    )
