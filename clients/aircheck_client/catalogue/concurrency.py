"""How many scans are under way: as many as keep the servers full, and no more.

Additive increase, multiplicative decrease (Chiu and Jain 1989), as TCP does it. A refusal means that there are too
many; so does a time for each window of audio that is far above its long average, for then windows wait in a queue
(Vegas, Brakmo and Peterson 1994; Netflix's concurrency-limits).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

DECREASE = 0.7
SLOW = 2.0  # times the long average at which windows count as queued
AVERAGE_OVER = 100  # answers in the long average
SLOW_AVERAGE_OVER = 5  # and in the one that is compared with it
WINDOW_S = 30.0


@dataclass(frozen=True)
class Bounds:
    """Least, first and most scans at a time."""

    least: int = 1
    first: int = 4
    most: int = 64

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.first <= self.most:
            raise ValueError(f"concurrency {self.least} to {self.most}, first {self.first}: not in order")


class AdaptiveLimit:
    """Slots for scans, of one event loop: `async with limit:` holds one; then `answered` or `refused`."""

    def __init__(self, bounds: Bounds):
        self._bounds = bounds
        self._limit = float(bounds.first)
        self._in_flight = 0
        self._freed = asyncio.Condition()
        self._long_s = self._short_s = 0.0
        self._answers = 0
        self._since_decrease = 0  # answers and refusals
        self._round = 0  # of them belong to the last decrease: what was in flight together lowers the limit once

    @property
    def limit(self) -> int:
        return int(self._limit)

    @property
    def in_flight(self) -> int:
        return self._in_flight

    async def __aenter__(self) -> None:
        async with self._freed:
            await self._freed.wait_for(lambda: self._in_flight < self.limit)
            self._in_flight += 1

    async def __aexit__(self, *_: object) -> None:
        async with self._freed:
            self._in_flight -= 1
            self._freed.notify_all()

    def answered(self, took_s: float, audio_s: float) -> None:
        """A scan of `audio_s` seconds was answered after `took_s`."""
        per_window_s = took_s / max(1.0, audio_s / WINDOW_S)
        self._answers += 1
        self._since_decrease += 1
        self._long_s += (per_window_s - self._long_s) / min(self._answers, AVERAGE_OVER)
        self._short_s += (per_window_s - self._short_s) / min(self._answers, SLOW_AVERAGE_OVER)
        if self._answers > AVERAGE_OVER and self._short_s > SLOW * self._long_s:
            self._decrease()
        elif self._in_flight >= self.limit:  # a limit that nobody reaches says nothing about a higher one
            self._limit = min(float(self._bounds.most), self._limit + 1.0 / self._limit)

    def refused(self) -> None:
        """A server had no room, or was not there."""
        self._since_decrease += 1
        self._decrease()

    def _decrease(self) -> None:
        if self._since_decrease <= self._round:
            return
        self._since_decrease, self._round = 0, self.limit
        self._limit = max(float(self._bounds.least), self._limit * DECREASE)
