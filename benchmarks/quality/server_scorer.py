"""Scores items end to end, on a running server.

Audio is cut into windows by the code that `episode_safety` uses (`aircheck.episode.scan`), and each window goes through
the ensemble `audio_safety`; so the verdict is `episode_safety`'s, and the scores below the pack's thresholds, which
verdicts leave out, come with it. Text goes through the models `text_safety` and `policy`.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from aircheck.episode import Terms, scan
from aircheck.policy.taxonomy import Event
from aircheck_client.schema import AcousticFindings, Segment, Span, TextFindings, Transcript, Verdict
from benchmarks.quality.manifest import CATEGORIES, EVENTS, Item
from benchmarks.quality.results import Conditions, Result
from benchmarks.quality.run import ItemError, ScorerGoneError
from preprocessing.container import Limits
from preprocessing.errors import AudioError

LIMITS = Limits(max_bytes=2**31 - 2**20, max_duration_s=12 * 3600.0, max_channels=8, max_sample_rate_hz=192_000)
WORDS_PER_S = 2.5  # nominal times of text items: about 150 words a minute
_PARALLEL_WINDOWS = 8
_TIMEOUT_S = 600.0


class Models:
    """Single models of a server: arrays in, arrays out. Thread-safe."""

    def __init__(self, url: str, tls: bool = False, token: str | None = None):
        self.url, self._tls = url, tls
        self._headers = {"triton-grpc-protocol-aircheck-token": token} if token else {}
        self._local = threading.local()  # tritonclient's clients are not for several threads

    def __call__(self, model: str, outputs: tuple[str, ...], **inputs: np.ndarray) -> dict[str, np.ndarray]:
        """Raises ItemError for what the server refuses, ScorerGoneError when it is not there."""
        tensors = []
        for name, array in inputs.items():
            kind = {"uint8": "UINT8", "float32": "FP32", "object": "BYTES"}[array.dtype.name]
            tensors.append(triton.InferInput(name, list(array.shape), kind))
            tensors[-1].set_data_from_numpy(array)
        try:
            answer = self._client().infer(
                model,
                tensors,
                outputs=[triton.InferRequestedOutput(name) for name in outputs],
                headers=self._headers,
                client_timeout=_TIMEOUT_S,
            )
        except InferenceServerException as error:
            if error.status() in ("StatusCode.UNAVAILABLE", "StatusCode.UNAUTHENTICATED", "StatusCode.CANCELLED"):
                raise ScorerGoneError(f"the server at {self.url} does not answer: {error.message()}") from None
            raise ItemError(f"the server refused it: {error.message()}") from None
        return {name: answer.as_numpy(name) for name in outputs}

    def _client(self) -> Any:
        if not hasattr(self._local, "client"):
            proxies = [("grpc.enable_http_proxy", 0)] if self.url.startswith(("127.", "localhost", "[::1]")) else []
            sizes = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
            credentials = grpc.ssl_channel_credentials() if self._tls else None
            self._local.client = triton.InferenceServerClient(
                self.url, creds=credentials, ssl=self._tls, channel_args=[*sizes, *proxies]
            )
        return self._local.client

    def versions(self) -> tuple[TextFindings, AcousticFindings]:
        """Findings about nothing at all, which carry the names and versions of the classifiers."""
        hello = _strings(text_transcript("hello").model_dump_json())
        text = self("text_safety", ("TEXT_FINDINGS",), TRANSCRIPT=hello)
        sound = self(
            "acoustic_safety",
            ("ACOUSTIC_FINDINGS",),
            WAVEFORM=np.zeros((1, 480_000), np.float32),
            DURATION=np.ones((1, 1), np.float32),
        )
        return (
            TextFindings.model_validate_json(text["TEXT_FINDINGS"].flat[0]),
            AcousticFindings.model_validate_json(sound["ACOUSTIC_FINDINGS"].flat[0]),
        )


class ServerScorer:
    """Every item through the whole server, `in_flight` at a time so that its batches fill."""

    hears = True

    def __init__(self, models: Models, conditions: Conditions, in_flight: int):
        self.conditions, self.in_flight = conditions, in_flight
        self._models = models
        self._context = conditions.context.model_dump_json()
        self._windows = ThreadPoolExecutor(max(in_flight, _PARALLEL_WINDOWS), thread_name_prefix="window")

    def takes(self, item: Item) -> bool:
        return True

    def score(self, item: Item, audio: bytes | None) -> Result:
        """Raises ItemError, ScorerGoneError."""
        if audio is None:
            return self._text(item)
        scores: list[tuple[np.ndarray, np.ndarray]] = []  # of each window, in the order in which they were scored

        def check_window(wav: bytes, language: str) -> Verdict:
            outputs = self._models(
                "audio_safety",
                ("VERDICT", "TEXT_SCORES", "ACOUSTIC_SCORES"),
                AUDIO=np.frombuffer(wav, np.uint8)[None],
                CONTEXT=_strings(self._context),
                LANGUAGE=_strings(language),
            )
            scores.append((outputs["TEXT_SCORES"][0], outputs["ACOUSTIC_SCORES"][0]))
            return Verdict.model_validate_json(outputs["VERDICT"].flat[0])

        try:
            *_, verdict = scan(
                audio,
                check_window,
                self._windows,
                Terms(LIMITS, self.conditions.window_max_s, _PARALLEL_WINDOWS),
            )
        except AudioError as error:
            raise ItemError(f"{item.audio}: {error}") from None
        text, sound = (np.max(rows, axis=0) for rows in zip(*scores, strict=True))
        return Result(
            item=item,
            source_sha256="",
            duration_s=verdict.duration_s,
            transcript=" ".join(segment.text for segment in verdict.segments),
            text_scores=_by_name(CATEGORIES, text),
            event_scores={name: value for name, value in _by_name(tuple(Event), sound).items() if name in EVENTS},
            verdict=verdict,
        )

    def _text(self, item: Item) -> Result:
        transcript = _strings(text_transcript(item.text or "").model_dump_json())
        scored = self._models("text_safety", ("TEXT_SCORES", "TEXT_FINDINGS"), TRANSCRIPT=transcript)
        verdict = self._models(
            "policy",
            ("VERDICT",),
            TRANSCRIPT=transcript,
            TEXT_FINDINGS=scored["TEXT_FINDINGS"],
            ACOUSTIC_FINDINGS=_strings(AcousticFindings(model="none", model_version="0").model_dump_json()),
            DURATION=np.array([[text_segments(item.text or "")[-1].end_s]], np.float32),
            WARNINGS=_strings("[]"),
            CONTEXT=_strings(self._context),
        )
        return Result(
            item=item,
            source_sha256="",
            text_scores=_by_name(CATEGORIES, scored["TEXT_SCORES"][0]),
            verdict=Verdict.model_validate_json(verdict["VERDICT"].flat[0]),
        )


def text_segments(text: str) -> tuple[Segment, ...]:
    """A text item as Whisper would have written it: a segment a line, at nominal times, heard without doubt."""
    segments: list[Segment] = []
    end_s = 0.0
    for line in [part for part in text.splitlines() if part.strip()] or [text]:
        start_s, end_s = end_s, end_s + max(1, len(line.split())) / WORDS_PER_S
        segments.append(
            Segment(start_s=start_s, end_s=end_s, text=line, avg_logprob=0.0, no_speech_prob=0.0, compression_ratio=1.0)
        )
    return tuple(segments)


def text_transcript(text: str) -> Transcript:
    """A text item as Whisper would have returned it."""
    segments = text_segments(text) if text.strip() else ()
    speech = tuple(Span(start_s=segment.start_s, end_s=segment.end_s) for segment in segments)
    return Transcript(model="none", model_version="0", language="en", speech=speech, segments=segments)


def _by_name(names: tuple[str, ...], scores: np.ndarray) -> dict[str, float]:
    return {str(name): round(float(score), 6) for name, score in zip(names, scores, strict=True)}


def _strings(value: str) -> np.ndarray:
    return np.array([[value.encode()]], dtype=np.object_)
