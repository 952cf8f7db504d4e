"""What all calls have in common: who calls, under which id, and that the server is not about to stop."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import grpc.aio
from opentelemetry.trace import get_current_span

from aircheck.gateway import log
from aircheck.gateway.access import Access
from aircheck.gateway.counters import CALL_SECONDS, CALLS_UNDER_WAY
from aircheck.gateway.errors import DrainingError
from aircheck.gateway.log import LOG
from aircheck.gateway.statuses import statuses
from aircheck.tracing import spans
from aircheck.tracing.names import KEY


@dataclass(frozen=True)
class Call:
    """One call under way.

    caller : the token's name; empty where none is asked for
    deadline_s : on the clock of time.monotonic; None without one
    """

    id: str
    caller: str
    deadline_s: float | None

    def named(self, key: str) -> None:
        """Lines of the log bear the caller's own name for the work, from now on, and so does the call's trace."""
        log.begin(self.id, key)
        if key:
            get_current_span().set_attribute(KEY, key)


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
        log.begin(call_id)
        async with statuses(context, method):
            if self._is_draining:
                raise DrainingError("the server is about to stop; another one, or this one later, takes the call")
            metadata = dict(context.invocation_metadata() or ())
            with self._access.call(metadata.get("authorization")) as caller, spans.call(method, call_id, metadata):
                left_s = context.time_remaining()
                deadline_s = None if left_s is None else time.monotonic() + left_s
                self._under_way += 1
                self._none_left.clear()
                begun_s = time.monotonic()
                LOG.info("%s begins%s", method, f", for {caller}" if caller else "")
                try:
                    with CALLS_UNDER_WAY.labels(method).track_inprogress(), CALL_SECONDS.labels(method).time():
                        yield Call(call_id, caller, deadline_s)
                finally:
                    self._under_way -= 1
                    if not self._under_way:
                        self._none_left.set()
                    LOG.info("%s ended after %.2f s", method, time.monotonic() - begun_s)

    async def drain(self) -> None:
        """Refuses calls from now on; returns when those under way have ended."""
        self._is_draining = True
        await self._none_left.wait()
