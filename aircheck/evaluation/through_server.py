"""Scores items end to end, on a running server.

Audio is cut into windows by the code that `episode_safety` uses (`aircheck.episode.scan`), and each window goes through
the ensemble `audio_safety`; so the verdict is the server's, and the scores below the pack's thresholds, which verdicts
leave out, come with it. Texts go to the model `text_safety`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

import grpc
import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from aircheck.episode import Terms, scan
from aircheck.evaluation.items import CATEGORIES, EVENTS, Item, Result, Span
from aircheck.evaluation.through_models import by_name, transcript
from aircheck.evaluation.transcribe import LIMITS
from aircheck.policy.taxonomy import Event
from aircheck_client.schema import Context, TextFindings, Verdict
from preprocessing.errors import AudioError
from preprocessing.wave_file import wave_bytes

_PARALLEL_WINDOWS = 8
_TIMEOUT_S = 600.0


class ServerGoneError(RuntimeError):
    """The server cannot score anything any more; the run ends, and can be taken up again."""


class ItemError(ValueError):
    """One item cannot be scored; the message says why."""


class ServerScorer:
    """Every item through the whole server, `in_flight` at a time so that its batches fill."""

    def __init__(self, url: str, context: Context, in_flight: int, window_max_s: float, tls: bool, token: str | None):
        """Raises ItemError when the server refuses the context, ServerGoneError when it does not answer."""
        self._models = _Models(url, tls, token)
        self._context = context.model_dump_json()
        self._terms = Terms(LIMITS, window_max_s, _PARALLEL_WINDOWS)
        self._in_flight = in_flight
        self._windows = ThreadPoolExecutor(max(in_flight, _PARALLEL_WINDOWS), thread_name_prefix="window")
        verdict, *_ = self._window(wave_bytes(np.zeros((1, 16_000), np.float32), 16_000), "")
        self.conditions: Mapping[str, str] = {
            **{model.role: f"{model.name} {model.version}" for model in verdict.models},
            "server": verdict.server_version,
            "pack": f"{verdict.policy_pack} {verdict.policy_version} (sha256 {verdict.policy_sha256[:12]})",
            "context": f"{context.content_type}, market {context.market}",
            "windows": f"at most {window_max_s:g} s",
        }
        hello = transcript(Item("probe", "", {}, ("hello",)))
        self.languages = self._text_findings(hello.model_dump_json())[1].languages

    def __call__(self, items: Sequence[Item]) -> Iterator[Result]:
        """Raises ServerGoneError; what was scored by then has been given."""
        with ThreadPoolExecutor(self._in_flight, thread_name_prefix="item") as pool:
            try:
                for done in as_completed([pool.submit(self._result, item) for item in items]):
                    yield done.result()
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def _result(self, item: Item) -> Result:
        try:
            return self._text(item) if item.audio is None else self._audio(item)
        except OSError as error:
            fault = f"{item.audio}: {error.strerror or error}; restore the file, or take the item out"
        except (AudioError, ItemError) as error:
            fault = f"{item.audio or item.id}: {error}"
        return Result(id=item.id, fingerprint="", error=fault)

    def _text(self, item: Item) -> Result:
        scores, _ = self._text_findings(transcript(item).model_dump_json())
        return Result(id=item.id, fingerprint=item.fingerprint(), scores=by_name(CATEGORIES, scores))

    def _audio(self, item: Item) -> Result:
        assert item.audio is not None
        scores: list[tuple[np.ndarray, np.ndarray]] = []  # of each window, in the order in which they were scored

        def check_window(wave: bytes, language: str) -> Verdict:
            verdict, *both = self._window(wave, language)
            scores.append((both[0], both[1]))
            return verdict

        *_, verdict = scan(item.audio.read_bytes(), check_window, self._windows, self._terms)
        text, sound = (np.max(rows, axis=0) for rows in zip(*scores, strict=True))
        heard = by_name(tuple(Event), sound)
        found = [finding for finding in verdict.findings if finding.category in EVENTS]
        return Result(
            id=item.id,
            fingerprint=item.fingerprint(),
            duration_s=verdict.duration_s,
            transcript=" ".join(segment.text for segment in verdict.segments),
            language=verdict.language,
            scores=by_name(CATEGORIES, text) | {name: heard[name] for name in EVENTS},
            spans=tuple(
                Span(target=finding.category, start_s=one.start_s, end_s=one.end_s, score=one.score)
                for finding in found
                for one in finding.evidence
            ),
        )

    def _window(self, wave: bytes, language: str) -> tuple[Verdict, np.ndarray, np.ndarray]:
        """The verdict on one window, and its scores."""
        outputs = self._models(
            "audio_safety",
            ("VERDICT", "TEXT_SCORES", "ACOUSTIC_SCORES"),
            AUDIO=np.frombuffer(wave, np.uint8)[None],
            CONTEXT=_strings(self._context),
            LANGUAGE=_strings(language),
        )
        verdict = Verdict.model_validate_json(outputs["VERDICT"].flat[0])
        return verdict, outputs["TEXT_SCORES"][0], outputs["ACOUSTIC_SCORES"][0]

    def _text_findings(self, transcript_json: str) -> tuple[np.ndarray, TextFindings]:
        outputs = self._models("text_safety", ("TEXT_SCORES", "TEXT_FINDINGS"), TRANSCRIPT=_strings(transcript_json))
        return outputs["TEXT_SCORES"][0], TextFindings.model_validate_json(outputs["TEXT_FINDINGS"].flat[0])


class _Models:
    """Single models of a server: arrays in, arrays out. Thread-safe."""

    def __init__(self, url: str, tls: bool, token: str | None):
        self._url, self._tls = url, tls
        self._headers = {"triton-grpc-protocol-aircheck-token": token} if token else {}
        self._local = threading.local()  # tritonclient's clients are not for several threads

    def __call__(self, model: str, outputs: tuple[str, ...], **inputs: np.ndarray) -> dict[str, np.ndarray]:
        """Raises ItemError for what the server refuses, ServerGoneError when it is not there."""
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
                raise ServerGoneError(f"the server at {self._url} does not answer: {error.message()}") from None
            raise ItemError(f"the server refused it: {error.message()}") from None
        return {name: answer.as_numpy(name) for name in outputs}

    def _client(self) -> Any:
        if not hasattr(self._local, "client"):
            proxies = [("grpc.enable_http_proxy", 0)] if self._url.startswith(("127.", "localhost", "[::1]")) else []
            sizes = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
            credentials = grpc.ssl_channel_credentials() if self._tls else None
            self._local.client = triton.InferenceServerClient(
                self._url, creds=credentials, ssl=self._tls, channel_args=[*sizes, *proxies]
            )
        return self._local.client


def _strings(value: str) -> np.ndarray:
    return np.array([[value.encode()]], dtype=np.object_)
