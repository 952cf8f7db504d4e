"""What can go wrong when the server is asked, as types a caller can tell apart."""

from __future__ import annotations

import grpc


class AircheckError(Exception):
    """Base of every error that this package raises. `source` names the file, where there is one."""

    def __init__(self, message: str, source: str = ""):
        super().__init__(f"{source}: {message}" if source else message)
        self.source = source


class InvalidAudioError(AircheckError):
    """The server refused the request: the audio or the context cannot be used. Sending it again will not help."""


class UnavailableError(AircheckError):
    """The server cannot be reached or takes no more work, also after the retries. Try again later."""


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
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineError,
    grpc.StatusCode.CANCELLED: ScanCancelledError,
    grpc.StatusCode.UNAUTHENTICATED: AuthenticationError,
    grpc.StatusCode.PERMISSION_DENIED: AuthenticationError,
}


def from_rpc(error: grpc.RpcError, url: str, source: str = "") -> AircheckError:
    """The typed error for a failed call to `url`."""
    code = error.code() if isinstance(error, grpc.Call) else grpc.StatusCode.UNKNOWN
    details = (error.details() if isinstance(error, grpc.Call) else None) or str(error)
    return from_status(code, details, url, source)


def from_status(code: grpc.StatusCode, details: str, url: str, source: str = "") -> AircheckError:
    """The typed error for a gRPC status that `url` answered with, or that gRPC made up for want of an answer."""
    if "protocol is restricted" in details:  # Triton answers UNAVAILABLE where a token is missing or wrong
        return AuthenticationError(f"{url} wants a token; pass token=… (or --token, or AIRCHECK_TOKEN)", source)
    kind = _BY_CODE.get(code, ServerError)
    if kind is UnavailableError and _is_answer(details):
        details = f"{url} takes no more work at present ({details}); try again later"
    elif kind is UnavailableError:
        details = f"no server answers at {url} ({details}); is it running (aircheck serve), and is the address right?"
    elif kind is DeadlineError:
        details = f"{url} did not answer in time; give a longer timeout or look at the server's load"
    elif kind is ServerError:
        details = f"the server at {url} failed ({code.name}): {details}"
    return kind(details, source)


def _is_answer(details: str) -> bool:
    """Whether a server said this: what gRPC says of a connection that fails always names the channel or the socket."""
    return not any(word in details.lower() for word in ("connect", "socket", "resolution", "goaway", "stream removed"))
