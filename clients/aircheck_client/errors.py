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
    said = (error.details() if isinstance(error, grpc.Call) else None) or str(error)
    if "protocol is restricted" in said:  # Triton answers UNAVAILABLE where a token is missing or wrong
        return AuthenticationError(f"{url} wants a token; pass token=… (or --token, or AIRCHECK_TOKEN)", source)
    kind = _BY_CODE.get(code, ServerError)
    if kind is UnavailableError:
        said = f"no server answers at {url} ({said}); is it running (aircheck serve), and is the address right?"
    elif kind is DeadlineError:
        said = f"{url} did not answer in time; give a longer timeout or look at the server's load"
    elif kind is ServerError:
        said = f"the server at {url} failed ({code.name}): {said}"
    return kind(said, source)
