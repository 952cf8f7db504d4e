"""What both clients are made of: a channel to the servers, the stubs on it, and errors with types."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import grpc
from grpc_health.v1 import health_pb2_grpc
from pydantic import ValidationError

from aircheck_client.connection import DEFAULT_URL, SERVICE, Connection, Retry, Tls
from aircheck_client.errors import AircheckError, ScanCancelledError, ServerError, from_rpc
from aircheck_client.messages import Progressing
from aircheck_client.tracing import call_span
from aircheck_client.v1 import aircheck_pb2_grpc


class Upload:
    """What a call sends, of which each client has a kind: the start, and the audio once the server has accepted."""

    fault: Exception | None = None
    """What the source of the audio raised."""

    def __init__(self, pieces: Any, start: Any, source: str, broken_off: Any = None):
        """broken_off : what the server is told when `pieces` raises; nothing: it is the end"""
        self.pieces, self.start, self.source, self.broken_off = pieces, start, source, broken_off


class Caller:
    """A connection to aircheck servers."""

    _channels: ClassVar[Any]  # the module that makes them: grpc, or grpc.aio
    _closed: ClassVar[type[BaseException] | tuple[type[BaseException], ...]]  # what it raises of a closed channel

    def __init__(
        self,
        url: str | Sequence[str] = DEFAULT_URL,
        *,
        tls: Tls | bool = False,
        token: str | None = None,
        timeout_s: float | None = None,
        retry: Retry | None = None,
    ):
        """`url` is host:port, or several of them, which take turns. `tls=True` verifies the server against the system's
        roots; a `Tls` says more. `timeout_s` bounds each call, retries included (None: no bound).

        Raises ValueError for a token that would cross a network unencrypted; OSError for a certificate that cannot be
        read.
        """
        connection = Connection.of(url, tls, token, retry)
        self.url, self._timeout_s, self._connection = connection.name, timeout_s, connection
        if credentials := connection.credentials:
            self._channel = self._channels.secure_channel(connection.target, credentials, connection.options)
        else:
            self._channel = self._channels.insecure_channel(connection.target, connection.options)
        self._stub = aircheck_pb2_grpc.AircheckStub(self._channel)
        self._health = health_pb2_grpc.HealthStub(self._channel)

    @contextmanager
    def _calling(
        self,
        method: str,
        timeout_s: float | None,
        source: str = "",
        progressing: Progressing | None = None,
        upload: Upload | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Yields what the call of the block is made with.

        Raises an AircheckError for what gRPC raises in the block; the fault of the upload, where that had one.
        """
        with call_span(SERVICE, method) as trace:
            try:
                yield {
                    "timeout": self._timeout_s if timeout_s is None else timeout_s,
                    "metadata": (*self._connection.metadata, *trace),
                }
            except grpc.RpcError as error:
                fault = (upload.fault if upload else None) or from_rpc(error, self.url, source)
                raise _with_partial(fault, progressing or Progressing()) from None
            except ValidationError as error:
                raise ServerError(
                    f"the answer is no verdict that this client knows (are client and server of one version?): {error}",
                    source,
                ) from None
            except self._closed as error:
                if not self._was_closed(error):
                    raise
                raise ScanCancelledError(f"the client was closed: {error}".removesuffix(": "), source) from None

    def _was_closed(self, error: BaseException) -> bool:
        """Whether one of `_closed` says that the channel was closed, and nothing else."""
        return True


def check_end(upload: Upload, progressing: Progressing) -> None:
    """Of a stream that the server ended without an error. Raises the upload's fault; ServerError where it is no end."""
    if upload.fault is not None:
        raise _with_partial(upload.fault, progressing)
    if not progressing.is_complete:
        raise ServerError("the server ended the stream before the recording's verdict", upload.source)


def _with_partial(error: Exception, progressing: Progressing) -> Exception:
    """The error, with what was found before it."""
    if isinstance(error, AircheckError):
        error.partial = progressing.partial
    return error
