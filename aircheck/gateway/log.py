"""The gateway's log: a line that is written while a call is worked on begins with the call's id, whoever writes it."""

from __future__ import annotations

import logging
from contextvars import ContextVar

LOG = logging.getLogger("aircheck.gateway")
_FORMAT = "%(asctime)s %(levelname)s %(call)s%(message)s"
_call: ContextVar[str] = ContextVar("call", default="")  # tasks inherit it; what serves all calls starts without one


def set_up(level: str) -> None:
    """Writes to standard error, the server's only output beside Triton's log."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter(_FORMAT))
    handler.addFilter(add_call)
    logging.basicConfig(handlers=[handler])
    LOG.setLevel(level.upper())


def begin(call_id: str, key: str = "") -> None:
    """What this task, and those that it starts, write from now on is about a call; `key`: the caller's name for it."""
    _call.set(f"{call_id} {key!r} " if key else f"{call_id} ")


def add_call(record: logging.LogRecord) -> bool:
    """A filter, which gives each record its call: "4711 'upload 7' ", or nothing."""
    record.call = _call.get()
    return True
