"""What becomes of a job that failed: tried again, waited with, or a dead letter with a typed reason."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import Enum, auto

from aircheck_client.catalogue.records import StoreError
from aircheck_client.catalogue.scanning import Reason, reason_of
from aircheck_client.errors import AuthenticationError, ScanCancelledError, UnavailableError

MALFORMED = Reason("malformed", False, "correct what sends it")
TOO_LARGE = Reason("too_large", False, "read the verdict from the records, or let the broker take larger messages")
TOO_MANY_DELIVERIES = Reason("too_many_deliveries", False, "look why its workers ended; then send it again")
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 30.0


class Then(Enum):
    """What follows a failure."""

    GIVE_UP = auto()
    """The message is at fault, whoever tries it."""
    TRY_AGAIN = auto()
    """It may be; so many attempts, and no more."""
    WAIT = auto()
    """Servers or records are away, full, or refuse us: no message is at fault, and every one waits."""


@dataclass(frozen=True)
class Failure:
    """A failure as the worker sees it; `after_s`: when the server asks to come again."""

    reason: Reason
    then: Then
    after_s: float | None = None


def failure_of(error: Exception) -> Failure:
    """What nobody foresaw, a bug of ours, is tried again: of a message that is never acknowledged nobody would hear."""
    reason = reason_of(error)
    if isinstance(error, UnavailableError | AuthenticationError | ScanCancelledError | StoreError):
        return Failure(reason, Then.WAIT, getattr(error, "retry_after_s", None))
    is_final = not reason.is_retryable and reason.name != "bug"
    return Failure(reason, Then.GIVE_UP if is_final else Then.TRY_AGAIN)


def wait_s(times: int, after_s: float | None = None) -> float:
    """Seconds before the next try: from half a second up to half a minute, jittered; at least what the server asks."""
    longest_s = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2 ** min(times, 16))
    return max(after_s or 0.0, longest_s * random.uniform(0.5, 1.0))
