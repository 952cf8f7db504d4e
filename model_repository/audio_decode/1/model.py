"""Triton adapter: encoded clips to waveforms, log-mels and speech activity (preprocessing.clip)."""

import json

import numpy as np
import torch
import triton_python_backend_utils as pb_utils

from aircheck.inference.abandonment import abandonment
from aircheck.inference.batching import strings
from aircheck.inference.device import select_device, side_threads
from aircheck.inference.whisper.weights.checkpoint import n_mels
from aircheck.settings import Settings
from preprocessing.clip import CLIP_S, Clip, ClipDecoder
from preprocessing.container import Limits


class TritonPythonModel:
    def initialize(self, args):
        settings = Settings.load()
        device = select_device(settings.device, args)
        torch.set_num_threads(1)  # of each thread that looks for speech: ClipDecoder has several
        self._decoder = ClipDecoder(
            n_mels=n_mels(settings.whisper),
            limits=Limits(
                max_bytes=settings.max_clip_bytes,
                max_duration_s=CLIP_S,
                max_channels=settings.max_channels,
                max_sample_rate_hz=settings.max_sample_rate_hz,
            ),
            max_batch_size=16,
            threads=side_threads(settings.cpu_threads, device),
            device_id=device.index if device.type == "cuda" else None,
        )

    def execute(self, requests):
        encoded = [() if _is_abandoned(request) else _rows(request) for request in requests]
        clips = iter(self._decoder.decode([row for rows in encoded for row in rows]))
        return [_response([next(clips) for _ in rows]) if len(rows) else _cancelled() for rows in encoded]


def _rows(request):
    return pb_utils.get_input_tensor_by_name(request, "AUDIO").as_numpy()


def _is_abandoned(request):
    is_abandoned = abandonment(request.parameters())
    return is_abandoned is not None and is_abandoned()


def _cancelled():
    error = pb_utils.TritonError("the request was cancelled", pb_utils.TritonError.CANCELLED)
    return pb_utils.InferenceResponse(error=error)


def _response(clips):
    for clip in clips:
        if not isinstance(clip, Clip):
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(clip), pb_utils.TritonError.INVALID_ARG))
    return pb_utils.InferenceResponse(
        [
            pb_utils.Tensor("WAVEFORM", np.stack([clip.waveform for clip in clips])),
            pb_utils.Tensor("LOG_MEL", np.stack([clip.log_mel for clip in clips])),
            pb_utils.Tensor("DURATION", np.array([[clip.duration_s] for clip in clips], np.float32)),
            pb_utils.Tensor("SPEECH", strings([_spans(clip) for clip in clips])),
            pb_utils.Tensor("WARNINGS", strings([json.dumps(clip.warnings) for clip in clips])),
        ]
    )


def _spans(clip):
    return json.dumps([[span.start_s, span.end_s] for span in clip.speech])
