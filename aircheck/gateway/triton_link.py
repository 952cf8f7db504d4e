"""The gateway's connection to Triton: one window, one unary call of the ensemble (KServe v2 over gRPC).

A window's request names a file that exists while somebody waits for the answer. Triton 2.51 stops between two steps of
an ensemble when its caller has gone, but never tells the step that is under way or queued; the models look at the file
(aircheck.inference.abandonment).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import struct
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import grpc.aio
import numpy as np
from opentelemetry.trace import SpanKind
from pydantic import ValidationError
from tritonclient.grpc import service_pb2, service_pb2_grpc

from aircheck.gateway.answers import Answer
from aircheck.gateway.errors import BusyError, WindowError
from aircheck.inference.abandonment import PARAMETER
from aircheck.policy.own import PARAMETER as OWN_PARAMETER
from aircheck.policy.own import Own
from aircheck.policy.taxonomy import Category, Event
from aircheck.tracing.spans import outgoing, span
from aircheck.triton_command import ENSEMBLE
from aircheck_client.schema import Context, ModelVersion, TextFindings, Transcript, Verdict
from preprocessing.decoding import SAMPLE_RATE_HZ
from preprocessing.errors import AudioError
from preprocessing.wave_file import wave_bytes

_OUTPUTS = ("VERDICT", "TEXT_SCORES", "ACOUSTIC_SCORES", "FINDINGS")

SILENCE = wave_bytes(np.zeros((1, SAMPLE_RATE_HZ // 2), np.float32), SAMPLE_RATE_HZ)
"""A window of which every model says something, at little cost."""

_MAX_CAUSE = 500  # characters of Triton's words that go into an error
_METRICS_TIMEOUT_S = 5.0
_SERVED_TIMEOUT_S = 60.0
_OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 200),  # while Triton starts
)


class LostError(RuntimeError):
    """Triton or one of the models ended before it answered. `is_certain`: a model's process is known to be gone."""

    def __init__(self, message: str, is_certain: bool):
        super().__init__(message)
        self.is_certain = is_certain


@dataclass(frozen=True)
class Served:
    """What the models say of themselves.

    languages : ISO 639-1 codes of those in which words are classified; empty for any
    """

    models: tuple[ModelVersion, ...] = ()
    languages: tuple[str, ...] = ()


class TritonLink:
    """A channel to a Triton that listens in `run_dir`."""

    def __init__(self, run_dir: Path):
        self._run_dir = run_dir
        self._channel: grpc.aio.Channel | None = None  # made on the running loop

    @property
    def url(self) -> str:
        """What tritonclient and other gRPC clients of this user take as the server's address."""
        return f"unix:{self._run_dir}/grpc:1"

    def listen_arguments(self) -> list[str]:
        """Triton joins address and port by a colon, whatever they are: the gRPC socket's name ends in ":1"."""
        return [
            f"--grpc-address=unix:{self._run_dir}/grpc",
            "--grpc-port=1",
            f"--metrics-address=unix:{self._run_dir}/metrics",
        ]

    async def ready(self) -> bool:
        """Whether all models are loaded; False also while nothing answers."""
        try:
            answer = await self._stub().ServerReady(service_pb2.ServerReadyRequest(), timeout=2)
            return bool(answer.ready)
        except grpc.RpcError:
            return False

    async def infer(
        self, wav: bytes, context: Context, language: str, deadline_s: float | None, own: Own | None = None
    ) -> Answer:
        """The verdict on a window, and its scores.

        language : ISO 639-1 code to transcribe in; empty: detect it
        deadline_s : on the clock of time.monotonic
        own : the stretch of `wav` that the answer is about, with times from its start on; None: all of it

        Raises LostError, BusyError (no room), WindowError (a model failed on it), AudioError (it cannot be used) and
        TimeoutError. Cancelled with its task: the models drop the window then.
        """
        with self._waited_for() as ticket:
            request = _request(wav, context, language, ticket, own)
            timeout_s = None if deadline_s is None else max(0.001, deadline_s - time.monotonic())
            with span("models", SpanKind.CLIENT):
                try:
                    answer = await self._stub().ModelInfer(request, timeout=timeout_s, metadata=outgoing())
                except grpc.RpcError as error:
                    raise _fault(error.code(), error.details() or "") from None
        try:
            return _answer(answer)
        except (ValidationError, ValueError) as error:
            raise WindowError(f"the models' answer is no verdict: {error}"[:_MAX_CAUSE]) from None

    async def served(self) -> Served:
        """What all models are, by their answers. Raises LostError, BusyError, WindowError, TimeoutError."""
        answer = await self.infer(SILENCE, Context(), "", time.monotonic() + _SERVED_TIMEOUT_S)
        return Served(answer.verdict.models, await self._languages())

    async def _languages(self) -> tuple[str, ...]:
        nothing = Transcript(model="none", model_version="0").model_dump_json().encode()
        tensor = service_pb2.ModelInferRequest.InferInputTensor
        request = service_pb2.ModelInferRequest(
            model_name="text_safety",
            inputs=[tensor(name="TRANSCRIPT", datatype="BYTES", shape=[1, 1])],
            outputs=[service_pb2.ModelInferRequest.InferRequestedOutputTensor(name="TEXT_FINDINGS")],
            raw_input_contents=[struct.pack("<I", len(nothing)) + nothing],
        )
        try:
            answer = await self._stub().ModelInfer(request, timeout=_SERVED_TIMEOUT_S)
        except grpc.RpcError as error:
            raise _fault(error.code(), error.details() or "") from None
        return TextFindings.model_validate_json(answer.raw_output_contents[0][4:]).languages

    async def metrics(self) -> str:
        """Triton's metrics in the Prometheus text format. Raises OSError or TimeoutError where there are none."""
        async with asyncio.timeout(_METRICS_TIMEOUT_S):
            reader, writer = await asyncio.open_unix_connection(f"{self._run_dir}/metrics")
            try:
                writer.write(b"GET /metrics HTTP/1.1\r\nHost: triton\r\nConnection: close\r\n\r\n")
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    int(line.split(b":")[1])
                    for line in head.lower().split(b"\r\n")
                    if line.startswith(b"content-length:")
                )
                return (await reader.readexactly(length)).decode()
            except (asyncio.IncompleteReadError, ValueError) as error:
                raise OSError(f"no metrics: {error}") from None
            finally:
                writer.close()

    async def close(self) -> None:
        """Ends the calls in flight."""
        if self._channel is not None:
            await self._channel.close()

    def _stub(self) -> service_pb2_grpc.GRPCInferenceServiceStub:
        if self._channel is None:
            self._channel = grpc.aio.insecure_channel(self.url, _OPTIONS)
        return service_pb2_grpc.GRPCInferenceServiceStub(self._channel)

    @contextmanager
    def _waited_for(self) -> Iterator[Path | None]:
        """A file for as long as the block runs; None where it cannot be made, and the models do not learn who left."""
        ticket = self._run_dir / f"window-{secrets.token_hex(8)}"
        try:
            os.close(os.open(ticket, os.O_CREAT | os.O_WRONLY, 0o600))
        except OSError:
            yield None
            return
        try:
            yield ticket
        finally:
            with contextlib.suppress(OSError):
                ticket.unlink()


def _request(
    wav: bytes, context: Context, language: str, ticket: Path | None, own: Own | None
) -> service_pb2.ModelInferRequest:
    """Shapes: AUDIO UINT8 [1, bytes]; CONTEXT and LANGUAGE STRING [1, 1]."""
    strings = {"CONTEXT": context.model_dump_json().encode(), "LANGUAGE": language.encode()}
    tensor = service_pb2.ModelInferRequest.InferInputTensor
    request = service_pb2.ModelInferRequest(
        model_name=ENSEMBLE,
        inputs=[
            tensor(name="AUDIO", datatype="UINT8", shape=[1, len(wav)]),
            *(tensor(name=name, datatype="BYTES", shape=[1, 1]) for name in strings),
        ],
        outputs=[service_pb2.ModelInferRequest.InferRequestedOutputTensor(name=name) for name in _OUTPUTS],
        raw_input_contents=[wav, *(struct.pack("<I", len(value)) + value for value in strings.values())],
    )
    if ticket is not None:
        request.parameters[PARAMETER].string_param = str(ticket)
    if own is not None:
        request.parameters[OWN_PARAMETER].string_param = own.model_dump_json()
    return request


def _answer(response: service_pb2.ModelInferResponse) -> Answer:
    """Raises ValueError, or ValidationError, for a response that is none."""
    found = dict(zip((output.name for output in response.outputs), response.raw_output_contents, strict=True))
    if missing := set(_OUTPUTS) - set(found):
        raise ValueError(f"no {', '.join(sorted(missing))}")
    verdict, categories, events, findings = (found[name] for name in _OUTPUTS)
    return Answer(
        verdict=Verdict.model_validate_json(verdict[4:]),  # BYTES: a length, then the text
        categories=_by_name(Category, categories),
        events=_by_name(Event, events),
        findings_json=findings[4:],
    )


def _by_name(names: Iterable[str], scores: bytes) -> dict[str, float]:
    """FP32 [1, names] to the score of each."""
    return {str(name): score for name, (score,) in zip(names, struct.iter_unpack("<f", scores), strict=True)}


def _fault(code: grpc.StatusCode, details: str) -> Exception:
    cause = details.removeprefix(f"in ensemble '{ENSEMBLE}', ")[:_MAX_CAUSE]
    if code is grpc.StatusCode.INVALID_ARGUMENT:
        return AudioError(cause)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return TimeoutError("the window was not checked in time")
    if "is not healthy" in details:  # the Python backend's words for a model process that is gone
        return LostError(cause, is_certain=True)
    if "windows wait to be transcribed" in details or "maximum queue size" in details or _is_memory_full(details):
        return BusyError(cause)
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.NOT_FOUND):
        return LostError(cause, is_certain=False)  # Triton is going, or gone
    return WindowError(cause)


def _is_memory_full(details: str) -> bool:
    """Whether /dev/shm had no room for a tensor: it has again when other windows are done."""
    return "shared memory pool" in details or "No space left on device" in details
