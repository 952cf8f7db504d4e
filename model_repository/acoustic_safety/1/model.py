"""Triton adapter of the acoustic classifier: windows in, event scores and spans out."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import triton_python_backend_utils as pb_utils

from aircheck.inference import memory
from aircheck.inference.acoustic_safety import load, window_problem
from aircheck.inference.batching import rows, split, strings
from aircheck.inference.device import select_device, side_threads
from aircheck.settings import Settings


class TritonPythonModel:
    """One instance of the classifier that the settings name."""

    def initialize(self, args: dict[str, str]) -> None:
        settings = Settings.load()
        device = select_device(settings.device, args)
        torch.set_num_threads(side_threads(settings.cpu_threads, device))
        self._classifier = load(settings.acoustic_classifier, settings.acoustic_labels, device)
        memory.trim()

    def execute(self, requests: list[Any]) -> list[Any]:
        """One forward pass over the good windows of all requests; a request with a bad one gets an error of its own."""
        waveforms, counts = rows(requests, "WAVEFORM")
        durations_s = rows(requests, "DURATION")[0].reshape(-1).astype(float)
        problems = [window_problem(*row) for row in zip(waveforms, durations_s, strict=True)]
        good = np.array([problem is None for problem in problems])
        detections = self._classifier.classify(waveforms[good], durations_s[good].tolist())
        place = np.cumsum(good) - 1  # a row's place among the good ones
        responses = []
        for indices in split(range(len(waveforms)), counts):
            problem = next((problems[index] for index in indices if problems[index] is not None), None)
            if problem is not None:
                error = pb_utils.TritonError(problem, pb_utils.TritonError.INVALID_ARG)
                responses.append(pb_utils.InferenceResponse(error=error))
                continue
            mine = place[list(indices)]
            findings = strings([detections.findings[index].model_dump_json() for index in mine])
            responses.append(
                pb_utils.InferenceResponse(
                    [
                        pb_utils.Tensor("ACOUSTIC_SCORES", detections.scores[mine]),
                        pb_utils.Tensor("ACOUSTIC_FINDINGS", findings),
                        pb_utils.Tensor("DURATION", durations_s[list(indices), None].astype(np.float32)),
                    ]
                )
            )
        return responses
