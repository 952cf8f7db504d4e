"""What can go wrong with a call, beside the audio (preprocessing.errors) and the context (policy.errors)."""

from __future__ import annotations


class StartError(RuntimeError):
    """The server cannot start; the message says why and what to do."""


class OverloadedError(RuntimeError):
    """What is asked for cannot be answered in time, or exceeds the caller's allowance; nothing was spent on it."""

    def __init__(self, message: str, retry_after_s: float):
        super().__init__(message)
        self.retry_after_s = retry_after_s


class BusyError(RuntimeError):
    """The models refused a window, since too many are waiting, or restart; it may be sent again."""


class DrainingError(RuntimeError):
    """The server is about to stop and takes no more."""


class WindowError(RuntimeError):
    """The models failed on a window."""


class StalledError(RuntimeError):
    """The caller sent nothing for too long."""


class AccessError(RuntimeError):
    """The caller sent no token, or one that this server does not know."""
