"""Triton model `whisper`: log-mel windows in, their transcripts out.

`execute` hands each request's windows and its response sender to the engine and returns, so that Triton keeps sending
while earlier windows decode. When the engine's queue is full, a request is turned away as UNAVAILABLE. That is done
here and not by `max_queue_size`: when Triton 2.51 itself turns away a step of an ensemble, other requests of that
ensemble are stuck for good (https://github.com/triton-inference-server/core/pull/470).
"""

from typing import Any

import triton_python_backend_utils as pb_utils

from aircheck.inference import memory
from aircheck.inference.abandonment import abandonment
from aircheck.inference.batching import strings, texts
from aircheck.inference.device import cpu_threads, select_device
from aircheck.inference.whisper.decoding.options import DecodingOptions
from aircheck.inference.whisper.decoding.segments import WindowTranscript
from aircheck.inference.whisper.engine import (
    EngineBusyError,
    WhisperEngine,
    Window,
    WindowError,
    parse_speech,
    select_dtype,
)
from aircheck.inference.whisper.pending import Answer, PendingRequests
from aircheck.inference.whisper.triton_metrics import EngineMetrics
from aircheck.inference.whisper.weights.checkpoint import load
from aircheck.policy.errors import RequestError
from aircheck.policy.own import Own, own_of, own_segments
from aircheck.settings import Settings
from aircheck_client.schema import Span, Transcript


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        settings = Settings.load()
        device = select_device(settings.device, args)
        dtype = select_dtype(settings.whisper_dtype, device)
        whisper = load(settings.whisper, device, dtype)
        self.engine = WhisperEngine(
            whisper,
            DecodingOptions.of(settings),
            n_slots=settings.whisper_slots or None,
            max_waiting=settings.whisper_max_waiting,
            quantization=settings.whisper_quantization,
            threads=cpu_threads(settings.cpu_threads),
            deterministic=settings.whisper_deterministic,
        )
        self.pending = PendingRequests(self.engine)
        self.metrics = EngineMetrics(self.engine.statistics, pb_utils.MetricFamily)
        memory.trim()

    def execute(self, requests: list[Any]) -> None:
        for request in requests:
            sender = request.get_response_sender()
            log_mels, durations_s = (
                pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in ("LOG_MEL", "DURATION")
            )
            durations_s = durations_s.ravel().tolist()
            speech, languages = (
                texts(pb_utils.get_input_tensor_by_name(request, name).as_numpy()) for name in ("SPEECH", "LANGUAGE")
            )
            try:
                own = own_of(request.parameters())
                spans = [_speech(parse_speech(one), own) for one in speech]
                self.engine.check(log_mels, durations_s, [language or None for language in languages])
            except (WindowError, RequestError) as error:
                _send(sender, _error(str(error), pb_utils.TritonError.INVALID_ARG))
                continue
            # copies: the request's memory goes back to Triton
            windows = [
                Window(log_mel.copy(), duration_s, its, language or None, with_words=own is not None)
                for log_mel, duration_s, its, language in zip(log_mels, durations_s, spans, languages, strict=True)
            ]
            is_cancelled = abandonment(request.parameters()) or sender.is_cancelled
            parts = [(own, duration_s) if own else None for duration_s in durations_s]
            self.pending.submit(
                windows, lambda answer, sender=sender, parts=parts: self._answer(sender, answer, parts), is_cancelled
            )

    def finalize(self) -> None:
        self.metrics.close()
        self.pending.close()
        self.engine.close()

    def _answer(self, sender: Any, answer: Answer, parts: list[tuple[Own, float] | None]) -> None:
        if answer is None:
            response = _error("the request was cancelled", pb_utils.TritonError.CANCELLED)
        elif isinstance(answer, EngineBusyError):
            response = _error(f"whisper: {answer}", pb_utils.TritonError.UNAVAILABLE)
        elif isinstance(answer, Exception):
            response = _error(f"whisper: {answer}", pb_utils.TritonError.INTERNAL)
        else:
            transcripts = [self._transcript(window, part) for window, part in zip(answer, parts, strict=True)]
            response = pb_utils.InferenceResponse(
                [
                    pb_utils.Tensor("TEXT", strings([transcript.text for transcript in transcripts])),
                    pb_utils.Tensor("TRANSCRIPT", strings([item.model_dump_json() for item in transcripts])),
                ]
            )
        _send(sender, response)

    def _transcript(self, window: WindowTranscript, part: tuple[Own, float] | None) -> Transcript:
        """part: what is reported of the window, and the seconds of its audio; None: all."""
        return Transcript(
            model=self.engine.name,
            model_version=self.engine.version,
            language=window.language,
            detected_language=window.detected_language,
            detected_probability=window.detected_probability,
            speech=tuple(Span(start_s=start_s, end_s=end_s) for start_s, end_s in window.speech or ()),
            segments=own_segments(window.segments, *part) if part else window.segments,
            n_dropped=sum(part[0].holds(segment) for segment in window.dropped) if part else window.n_dropped,
        )


def _speech(spans: tuple[tuple[float, float], ...], own: Own | None) -> tuple[tuple[float, float], ...]:
    """None where nobody speaks in what is reported: nothing need be transcribed."""
    is_of_others = own is not None and all(end_s <= own.start_s or start_s >= own.end_s for start_s, end_s in spans)
    return () if is_of_others else spans


def _error(message: str, code: int) -> Any:
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, code))


def _send(sender: Any, response: Any) -> None:
    sender.send(response, flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
