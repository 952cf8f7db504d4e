"""A window on its way to the models and back: in turn, tried again while there is no room, dropped with its caller."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from typing import Protocol

from aircheck.gateway.answers import Answer
from aircheck.gateway.counters import AUDIO_SECONDS, WINDOW_SECONDS, WINDOWS
from aircheck.gateway.errors import BusyError
from aircheck.gateway.scheduling import Turns
from aircheck.policy.own import Own
from aircheck_client.schema import Context

FIRST_WAIT_S, LONGEST_WAIT_S = 0.1, 2.0  # between two tries of a window that was refused
PATIENCE_S = 60.0  # without an answer to any window of a scan, after which it gives up


class Models(Protocol):
    """Triton, as the supervisor gives it."""

    async def infer(
        self, wav: bytes, context: Context, language: str, deadline_s: float | None, own: Own | None = None
    ) -> Answer:
        """What the models say of a window, or of the part of it that is its own; deadline on time.monotonic's clock."""
        ...


@dataclass
class WindowChecker:
    """Checks the windows of one scan."""

    models: Models
    turns: Turns
    context: Context
    deadline_s: float | None = None
    answered_at_s: float = 0.0

    async def __call__(self, wav: bytes, language: str, own: Own | None = None) -> Answer:
        """Raises BusyError after PATIENCE_S without an answer to any window of this scan; WindowError."""
        begun_s, wait_s = time.monotonic(), FIRST_WAIT_S
        while True:
            try:
                async with self.turns.window():
                    with WINDOW_SECONDS.time():
                        answer = await self.models.infer(wav, self.context, language, self.deadline_s, own)
            except BusyError:
                # others may fill the queue for a while, which must not cost a scan all its work
                pause_s = random.uniform(wait_s / 2, wait_s)
                if time.monotonic() + pause_s >= max(begun_s, self.answered_at_s) + PATIENCE_S:
                    raise
                await asyncio.sleep(pause_s)
                wait_s = min(2 * wait_s, LONGEST_WAIT_S)
            else:
                self.answered_at_s = time.monotonic()
                WINDOWS.labels(answer.verdict.action).inc()
                AUDIO_SECONDS.inc(answer.verdict.duration_s)
                return answer
