"""How a server ended a call, where gRPC's asyncio client loses it.

When a server ends a stream while the client is sending, the send fails, and `grpc.aio` (1.80 to 1.85) puts INTERNAL,
"Internal error from Core", in the place of the status that has come, or is about to come: of 300 uploads that a server
ended early, 76 were told so. Callbacks see the status before that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import grpc
import grpc.aio

_T = TypeVar("_T")
_LOST = "Internal error from Core"


class Ending:
    """Watches a call from its beginning."""

    def __init__(self, call: grpc.aio.Call):
        self._call = call
        self._first: grpc.aio.AioRpcError | None = None
        call.add_done_callback(self._note)

    async def of(self, error: grpc.aio.AioRpcError) -> grpc.aio.AioRpcError:
        """`error`, or the server's own where it was lost."""
        if not _is_lost(error):
            return error
        if self._first is not None and not _is_lost(self._first):
            return self._first
        await asyncio.sleep(0)
        last = _error(self._call)
        return error if last is None else last

    def _note(self, call: grpc.aio.Call) -> None:
        self._first = _error(call)


def _is_lost(error: grpc.aio.AioRpcError) -> bool:
    return error.code() is grpc.StatusCode.INTERNAL and (error.details() or "").startswith(_LOST)


def _error(call: grpc.aio.Call) -> grpc.aio.AioRpcError | None:
    code = _at_once(call.code())
    if code is None or code is grpc.StatusCode.OK:
        return None
    trailing = _at_once(call.trailing_metadata()) or grpc.aio.Metadata()
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailing, _at_once(call.details()))


def _at_once(coroutine: Coroutine[Any, Any, _T]) -> _T | None:
    """What a coroutine returns that has nothing to wait for; None where it would wait."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        value: _T = done.value
        return value
    coroutine.close()
    return None
