"""The gRPC client: audio in, verdicts out.

    with AircheckClient("127.0.0.1:8001") as client:
        verdict = client.scan("episode.mp3", Context(content_type="podcast", market="SE"))
        print(verdict.action, verdict.reason)

It speaks Triton's own protocol (KServe v2 over gRPC) through tritonclient's generated stubs, on one channel that any
number of threads may share.
"""

from __future__ import annotations

import ipaddress
import os
import random
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import grpc
from pydantic import ValidationError
from tritonclient.grpc import service_pb2, service_pb2_grpc

from aircheck_client.errors import (
    AircheckError,
    InvalidAudioError,
    ScanCancelledError,
    ServerError,
    UnavailableError,
    from_rpc,
    from_status,
)
from aircheck_client.schema import Context, Failure, Verdict

DEFAULT_URL = "127.0.0.1:8001"
MAX_UPLOAD_BYTES = 2**31 - 2**20  # a gRPC message is below 2 GiB

Source = str | os.PathLike[str] | bytes


@dataclass(frozen=True)
class Tls:
    """How to verify the server and, for mutual TLS, what to show it. Paths of PEM files."""

    ca: Path | None = None  # None: the system's roots
    certificate: Path | None = None
    key: Path | None = None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("a client certificate and its key belong together: give both or neither")

    def credentials(self) -> grpc.ChannelCredentials:
        """Raises OSError when a file cannot be read."""
        read = [path.read_bytes() if path else None for path in (self.ca, self.key, self.certificate)]
        return grpc.ssl_channel_credentials(*read)


@dataclass(frozen=True)
class Retry:
    """Exponential backoff with full jitter, for UNAVAILABLE alone: nothing else gets better by asking again."""

    attempts: int = 4
    first_wait_s: float = 0.2
    longest_wait_s: float = 5.0

    def wait_s(self, attempt: int) -> float:
        """How long to wait after the `attempt`th failure, counted from 1."""
        return random.uniform(0, min(self.longest_wait_s, self.first_wait_s * 2 ** (attempt - 1)))


class AircheckClient:
    """A connection to an aircheck server. Thread-safe; close it, or use it in a `with` block."""

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        tls: Tls | bool = False,
        token: str | None = None,
        timeout_s: float | None = None,
        retry: Retry | None = None,
    ):
        """`url` is host:port. `tls=True` verifies the server against the system's roots; a `Tls` says more.

        `timeout_s` bounds each scan, retries included (None: no bound). Raises ValueError for a token that would cross
        a network unencrypted.
        """
        if token and not tls and not _is_loopback(url):
            raise ValueError(f"a token for {url} would cross the network in clear; pass tls=True or tls=Tls(...)")
        self.url, self._timeout_s, self._retry = url, timeout_s, retry or Retry()
        self._metadata: list[tuple[str, str]] = []
        if token:
            self._metadata.append(("triton-grpc-protocol-aircheck-token", token))
        options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
        if _is_loopback(url):
            options.append(("grpc.enable_http_proxy", 0))  # a proxy cannot reach this machine's loopback
        if tls:
            self._channel = grpc.secure_channel(url, (tls if isinstance(tls, Tls) else Tls()).credentials(), options)
        else:
            self._channel = grpc.insecure_channel(url, options)
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)

    def __enter__(self) -> AircheckClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection; scans under way end with ScanCancelledError."""
        self._channel.close()

    def ready(self) -> bool:
        """Whether the server answers and all its models are loaded. Never raises for an absent server."""
        try:
            request = service_pb2.ServerReadyRequest()
            return bool(self._stub.ServerReady(request, timeout=5, metadata=self._metadata).ready)
        except grpc.RpcError:
            return False

    def scan(self, source: Source, context: Context | None = None, *, timeout_s: float | None = None) -> Verdict:
        """The verdict on a whole recording of any length, given as a path or as encoded bytes.

        Raises InvalidAudioError, UnavailableError (after retries), DeadlineError, AuthenticationError, ServerError.
        """
        for attempt in _attempts(self._retry, self._deadline(timeout_s)):
            with attempt:
                for verdict in self._stream_once(source, context, attempt.timeout_s):
                    if verdict.scope == "episode":
                        return verdict
                raise UnavailableError("the server ended the stream before the episode's verdict", _name(source))
        raise AssertionError("unreachable: the last attempt raises")

    def stream(
        self, source: Source, context: Context | None = None, *, timeout_s: float | None = None
    ) -> Iterator[Verdict]:
        """Verdicts as they come: one for each window in order, then the episode's (`scope == "episode"`).

        Closing the iterator cancels the scan on the server. Retries only while nothing has been yielded. Raises as
        `scan`.
        """
        deadline = self._deadline(timeout_s)
        for attempt in _attempts(self._retry, deadline):
            with attempt:
                for verdict in self._stream_once(source, context, attempt.timeout_s):
                    attempt.final = True
                    yield verdict
                return

    def scan_clip(self, source: Source, context: Context | None = None, *, timeout_s: float | None = None) -> Verdict:
        """The verdict on a clip of at most 30 s, by one call of the ensemble: the shortest way. Raises as `scan`."""
        request = _request("audio_safety", _read(source), context, outputs=("VERDICT",), batched=True)
        for attempt in _attempts(self._retry, self._deadline(timeout_s)):
            with attempt, self._typed_errors(source):
                return _verdict(self._stub.ModelInfer(request, timeout=attempt.timeout_s, metadata=self._metadata))
        raise AssertionError("unreachable: the last attempt raises")

    def _stream_once(self, source: Source, context: Context | None, timeout_s: float | None) -> Iterator[Verdict]:
        request = _request("episode_safety", _read(source), context, outputs=(), batched=False)
        with self._typed_errors(source):
            call = self._stub.ModelStreamInfer(iter([request]), timeout=timeout_s, metadata=self._metadata)
            fault: AircheckError | None = None
            try:
                for message in call:  # to the end, also after a fault: a stream cut off then can end Triton 2.51
                    if fault is None:
                        fault = _fault(message, self.url, _name(source))
                    if fault is None:
                        yield _verdict(message.infer_response)
            except GeneratorExit:  # the caller stops listening to a scan that is still running
                call.cancel()
                raise
            if fault is not None:
                raise fault

    @contextmanager
    def _typed_errors(self, source: Source) -> Iterator[None]:
        try:
            yield
        except grpc.RpcError as error:
            raise from_rpc(error, self.url, _name(source)) from None
        except ValidationError as error:
            raise ServerError(
                f"the answer is no verdict that this client knows (are client and server of one version?): {error}",
                _name(source),
            ) from None
        except ValueError as error:  # gRPC's way to say that the channel was closed under us
            raise ScanCancelledError(f"the client was closed: {error}", _name(source)) from None

    def _deadline(self, timeout_s: float | None) -> float | None:
        bound_s = self._timeout_s if timeout_s is None else timeout_s
        return None if bound_s is None else time.monotonic() + bound_s


class _Attempt:
    """One try of a call. As a context manager it swallows an UnavailableError that another try may mend."""

    def __init__(self, retry: Retry, number: int, deadline: float | None):
        self._retry, self._number, self._deadline = retry, number, deadline
        self.final = number >= retry.attempts
        self.timeout_s = None if deadline is None else max(0.001, deadline - time.monotonic())

    def __enter__(self) -> _Attempt:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if self.final or not isinstance(error, UnavailableError):
            return False
        wait_s = self._retry.wait_s(self._number)
        if self._deadline is not None and time.monotonic() + wait_s >= self._deadline:
            return False
        time.sleep(wait_s)
        return True


def _attempts(retry: Retry, deadline: float | None) -> Iterator[_Attempt]:
    return (_Attempt(retry, number, deadline) for number in range(1, retry.attempts + 1))


def _request(
    model: str, audio: bytes, context: Context | None, outputs: tuple[str, ...], batched: bool
) -> service_pb2.ModelInferRequest:
    """Shapes: AUDIO UINT8 [bytes], CONTEXT STRING [1]; a batching model takes a leading dimension of one."""
    text = (context or Context()).model_dump_json().encode()
    lead = [1] if batched else []
    strings = {"CONTEXT": text, "LANGUAGE": b""} if batched else {"CONTEXT": text}
    tensor = service_pb2.ModelInferRequest.InferInputTensor
    return service_pb2.ModelInferRequest(
        model_name=model,
        inputs=[
            tensor(name="AUDIO", datatype="UINT8", shape=[*lead, len(audio)]),
            *(tensor(name=name, datatype="BYTES", shape=[*lead, 1]) for name in strings),
        ],
        outputs=[service_pb2.ModelInferRequest.InferRequestedOutputTensor(name=name) for name in outputs],
        raw_input_contents=[audio, *(struct.pack("<I", len(value)) + value for value in strings.values())],
    )


def _fault(message: service_pb2.ModelStreamInferResponse, url: str, source: str) -> AircheckError | None:
    """What a message of the stream reports instead of a verdict; None for a verdict."""
    if message.error_message:
        return from_status(grpc.StatusCode.INTERNAL, message.error_message, url, source)
    raw = _output(message.infer_response, "ERROR")
    if raw is None:
        return None
    failure = Failure.model_validate_json(raw)
    return from_status(grpc.StatusCode[failure.code], failure.message, url, source)


def _output(response: service_pb2.ModelInferResponse, name: str) -> bytes | None:
    """The text of a STRING output of one element; None where the response has no such output."""
    names = [output.name for output in response.outputs]
    # BYTES: a little-endian length, then the text
    return response.raw_output_contents[names.index(name)][4:] if name in names else None


def _verdict(response: service_pb2.ModelInferResponse) -> Verdict:
    return Verdict.model_validate_json(_output(response, "VERDICT") or b"")


def _read(source: Source) -> bytes:
    if isinstance(source, bytes):
        data = source
    else:
        try:
            data = Path(source).read_bytes()
        except OSError as error:
            raise InvalidAudioError(f"cannot be read: {error.strerror}", str(source)) from None
    if not data:
        raise InvalidAudioError("the audio has 0 bytes; was the upload cut off?", _name(source))
    if len(data) > MAX_UPLOAD_BYTES:
        raise InvalidAudioError(f"{len(data)} bytes do not fit in one gRPC message (2 GiB)", _name(source))
    return data


def _name(source: Source) -> str:
    return "" if isinstance(source, bytes) else os.fspath(source)


def _is_loopback(url: str) -> bool:
    host = url.rsplit(":", 1)[0].strip("[]")
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
