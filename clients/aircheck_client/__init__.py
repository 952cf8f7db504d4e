"""Client of the aircheck audio safety server.

Names are imported when first used, so that `aircheck --help`, and a server that needs only the schema, start fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aircheck_client.aio import AsyncAircheckClient
    from aircheck_client.client import AircheckClient, Pcm, Retry, Tls
    from aircheck_client.errors import (
        AircheckError,
        AuthenticationError,
        DeadlineError,
        InvalidAudioError,
        OverloadedError,
        ScanCancelledError,
        ServerError,
        UnavailableError,
    )
    from aircheck_client.schema import (
        Action,
        Context,
        Coverage,
        Evidence,
        Finding,
        ModelVersion,
        Segment,
        Severity,
        Unchecked,
        Verdict,
    )

_HOMES = {
    "aio": ("AsyncAircheckClient",),
    "client": ("AircheckClient", "Pcm", "Retry", "Tls"),
    "errors": (
        "AircheckError",
        "AuthenticationError",
        "DeadlineError",
        "InvalidAudioError",
        "OverloadedError",
        "ScanCancelledError",
        "ServerError",
        "UnavailableError",
    ),
    "schema": (
        "Action",
        "Context",
        "Coverage",
        "Evidence",
        "Finding",
        "ModelVersion",
        "Segment",
        "Severity",
        "Unchecked",
        "Verdict",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Action",
    "AircheckClient",
    "AircheckError",
    "AsyncAircheckClient",
    "AuthenticationError",
    "Context",
    "Coverage",
    "DeadlineError",
    "Evidence",
    "Finding",
    "InvalidAudioError",
    "ModelVersion",
    "OverloadedError",
    "Pcm",
    "Retry",
    "ScanCancelledError",
    "Segment",
    "ServerError",
    "Severity",
    "Tls",
    "UnavailableError",
    "Unchecked",
    "Verdict",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'aircheck_client' has no attribute '{name}'")
    return getattr(import_module(f"aircheck_client.{_HOME_OF[name]}"), name)
