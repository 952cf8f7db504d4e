"""What can go wrong when the server is asked, as types a caller can tell apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

if TYPE_CHECKING:
    from aircheck_client.schema import Verdict

_DETAILS = "grpc-status-details-bin"


class AircheckError(Exception):
    """Base of every error that this package raises.

    source : names the file, where there is one
    partial : the verdict on what was checked before the error, where a scan failed midway
    """

    partial: Verdict | None = None

    def __init__(self, message: str, source: str = ""):
        super().__init__(f"{source}: {message}" if source else message)
        self.source = source


class InvalidAudioError(AircheckError):
    """The server refused the request: the audio or the context cannot be used. Sending it again will not help."""


class UnavailableError(AircheckError):
    """The server cannot be reached, starts, or is about to stop, also after the retries. Try again later."""

    retry_after_s: float | None = None
    """When the server asks to come again, where it says."""


class OverloadedError(UnavailableError):
    """The server takes no more work at present, or this caller has used up its allowance."""


class DeadlineError(AircheckError):
    """The answer was not there in time; give a longer `timeout_s`, or look at the server's load."""


class ScanCancelledError(AircheckError):
    """The scan was cancelled, by this client or by the server's shutdown."""


class AuthenticationError(AircheckError):
    """The server wants a token or a client certificate, or refused the one that was sent."""


class ServerError(AircheckError):
    """The server failed. The fault is not in the audio; its log says more."""


_BY_CODE: dict[grpc.StatusCode, type[AircheckError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidAudioError,
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: OverloadedError,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineError,
    grpc.StatusCode.CANCELLED: ScanCancelledError,
    grpc.StatusCode.UNAUTHENTICATED: AuthenticationError,
    grpc.StatusCode.PERMISSION_DENIED: AuthenticationError,
}


def from_rpc(error: grpc.RpcError, url: str, source: str = "") -> AircheckError:
    """The typed error for a failed call to `url`."""
    code = error.code() if hasattr(error, "code") else grpc.StatusCode.UNKNOWN
    details = (error.details() if hasattr(error, "details") else None) or str(error)
    found = from_status(code, details, url, source)
    if isinstance(found, UnavailableError):
        found.retry_after_s = _retry_after_s(error)
    return found


def from_status(code: grpc.StatusCode, details: str, url: str, source: str = "") -> AircheckError:
    """The typed error for a gRPC status that `url` answered with, or that gRPC made up for want of an answer."""
    kind = _BY_CODE.get(code, ServerError)
    if kind is OverloadedError:
        details = f"{url} takes no more work at present ({details}); try again later"
    elif kind is UnavailableError and _is_answer(details):
        details = f"{url} cannot answer at present ({details}); try again later"
    elif kind is UnavailableError:
        details = f"no server answers at {url} ({details}); is it running (aircheck serve), and is the address right?"
    elif kind is AuthenticationError:
        details = f"{url}: {details} (aircheck: --token-file, or AIRCHECK_TOKEN; in code: token=…)"
    elif kind is DeadlineError and ("Deadline Exceeded" in details or code.name in details):  # gRPC's, not the server's
        details = f"{url} did not answer in time; give a longer timeout or look at the server's load"
    elif kind is ServerError:
        details = f"the server at {url} failed ({code.name}): {details}"
    return kind(details, source)


def _is_answer(details: str) -> bool:
    """Whether a server said this: what gRPC says of a connection that fails always names the channel or the socket."""
    if "backend unhealthy" in details:  # several are there, and each says of itself that it cannot answer
        return True
    return not any(word in details.lower() for word in ("connect", "socket", "resolution", "goaway", "stream removed"))


def _retry_after_s(error: grpc.RpcError) -> float | None:
    trailing = error.trailing_metadata() if hasattr(error, "trailing_metadata") else None
    for key, value in trailing or ():
        if key == _DETAILS:
            for detail in Status.FromString(value).details:
                info = RetryInfo()
                if detail.Unpack(info):
                    return info.retry_delay.seconds + info.retry_delay.nanos / 1e9
    return None
