"""What all calls have in common: who calls, under which id, and that the server is not about to stop."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import grpc.aio

from aircheck.gateway.access import Access
from aircheck.gateway.counters import CALL_SECONDS, CALLS_UNDER_WAY
from aircheck.gateway.errors import DrainingError
from aircheck.gateway.statuses import statuses

_log = logging.getLogger("aircheck.gateway")


class CallLog(logging.LoggerAdapter[logging.Logger]):
    """Lines that begin with the call's id, and the caller's own name for the work once it is known."""

    def __init__(self, call_id: str) -> None:
        super().__init__(_log)
        self._id, self.key = call_id, ""

    def process(self, msg: object, kwargs: object) -> tuple[str, object]:  # type: ignore[override]  # stub: a dict
        return f"{self._id} {self.key!r} {msg}" if self.key else f"{self._id} {msg}", kwargs


@dataclass(frozen=True)
class Call:
    """One call under way.

    caller : the token's name; empty where none is asked for
    deadline_s : on the clock of time.monotonic; None without one
    """

    id: str
    caller: str
    deadline_s: float | None
    log: CallLog


class Calls:
    """The calls under way."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._under_way = 0
        self._none_left = asyncio.Event()
        self._none_left.set()
        self._is_draining = False

    @asynccontextmanager
    async def call(self, context: grpc.aio.ServicerContext, method: str) -> AsyncIterator[Call]:
        """A call while the block runs; what the block raises ends it with its status."""
        call_id = uuid.uuid4().hex[:16]
        log = CallLog(call_id)
        async with statuses(context, log, method):
            if self._is_draining:
                raise DrainingError("the server is about to stop; another one, or this one later, takes the call")
            metadata = dict(context.invocation_metadata() or ())
            with self._access.call(metadata.get("authorization")) as caller:
                left_s = context.time_remaining()
                deadline_s = None if left_s is None else time.monotonic() + left_s
                self._under_way += 1
                self._none_left.clear()
                begun_s = time.monotonic()
                log.info("%s begins%s", method, f", for {caller}" if caller else "")
                try:
                    with CALLS_UNDER_WAY.labels(method).track_inprogress(), CALL_SECONDS.labels(method).time():
                        yield Call(call_id, caller, deadline_s, log)
                finally:
                    self._under_way -= 1
                    if not self._under_way:
                        self._none_left.set()
                    log.info("%s ended after %.2f s", method, time.monotonic() - begun_s)

    async def drain(self) -> None:
        """Refuses calls from now on; returns when those under way have ended."""
        self._is_draining = True
        await self._none_left.wait()
