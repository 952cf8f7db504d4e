"""Client of the aircheck audio safety server."""

from aircheck_client.client import AircheckClient, Retry, Tls
from aircheck_client.errors import (
    AircheckError,
    AuthenticationError,
    DeadlineError,
    InvalidAudioError,
    ScanCancelledError,
    ServerError,
    UnavailableError,
)
from aircheck_client.schema import Action, Context, Evidence, Finding, Segment, Severity, Verdict

__all__ = [
    "Action",
    "AircheckClient",
    "AircheckError",
    "AuthenticationError",
    "Context",
    "DeadlineError",
    "Evidence",
    "Finding",
    "InvalidAudioError",
    "Retry",
    "ScanCancelledError",
    "Segment",
    "ServerError",
    "Severity",
    "Tls",
    "UnavailableError",
    "Verdict",
]
