"""Which window goes to the models next.

Windows in flight are few, so that what waits can still be put in order: somebody who waits for a clip comes before an
episode, and an episode before a back catalogue. Scans of one priority take turns, a window each, however many windows
each could send. A lower priority is never starved: every `YIELD_EVERY`th turn that it waits through is its own.

More windows in flight make more of the models and each window slower. So there are two limits: one for a server that
only scans recordings, and a lower one from the first clip until no clip has come for `CLIPS_LINGER_S`.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import IntEnum

from aircheck.gateway.counters import TURN_SECONDS
from aircheck.gateway.errors import OverloadedError
from aircheck.tracing.spans import span

YIELD_EVERY = 8
CLIPS_LINGER_S = 30.0
PACE_OVER = 32  # windows last answered while the models were busy, for the estimate of a wait
FEWEST_FOR_A_PACE = 4
MARGIN = 1.25  # on an expected wait: the pace may fall, and to wait in vain costs more than to be refused at once
MOST_AT_FIRST = 8
RETRY_AT_FIRST_S = 5.0


class Priority(IntEnum):
    """Lower comes first."""

    INTERACTIVE = 0
    NORMAL = 1
    BULK = 2


class Turns:
    """A scan's place among the others; made by `WindowScheduler.join`."""

    def __init__(self, scheduler: WindowScheduler, priority: Priority):
        self._scheduler, self.priority = scheduler, priority
        self.waiting: deque[asyncio.Future[None]] = deque()

    @asynccontextmanager
    async def window(self) -> AsyncIterator[None]:
        """Waits for this scan's turn, and holds one window in flight while the block runs."""
        priority = self.priority.name.lower()
        with TURN_SECONDS.labels(priority).time(), span("turn", priority=priority):
            await self._scheduler.acquire(self)
        begun_s = time.monotonic()
        try:
            yield
        except BaseException:
            self._scheduler.release(self.priority, None)
            raise
        else:
            self._scheduler.release(self.priority, begun_s)


class WindowScheduler:
    """For use on one event loop."""

    def __init__(self, max_in_flight: int, kept_free: int = 1, max_without_clips: int | None = None):
        """max_in_flight : windows at the models at a time
        kept_free : how many fewer than that NORMAL and BULK may take, so that a clip waits for no episode's window
        max_without_clips : the limit while nobody waits for a clip; None: the same
        """
        most = max_in_flight if max_without_clips is None else max_without_clips
        if not 0 <= kept_free < max_in_flight <= most:
            raise ValueError(f"of {max_in_flight} windows in flight, {kept_free} free, and of {most} without clips")
        self._max_in_flight, self._kept_free, self._max_without_clips = max_in_flight, kept_free, most
        self._in_flight_of = dict.fromkeys(Priority, 0)
        self._clip_at_s = -math.inf
        self._queues: dict[Priority, deque[Turns]] = {priority: deque() for priority in Priority}
        self._passed_over = dict.fromkeys(Priority, 0)
        self._intervals_s: deque[float] = deque(maxlen=PACE_OVER)  # between two answers while the models are busy
        self._busy_since_s: float | None = None  # or since the last answer

    def join(self, priority: Priority) -> Turns:
        """A place for one scan."""
        return Turns(self, priority)

    @property
    def in_flight(self) -> int:
        return sum(self._in_flight_of.values())

    def waiting(self, up_to: Priority = Priority.BULK) -> int:
        """Windows that wait, of `up_to` and all priorities before it."""
        return sum(len(turns.waiting) for priority in Priority if priority <= up_to for turns in self._queues[priority])

    def expected_s(self, priority: Priority, on_their_way: int = 0) -> float:
        """When a window that came now would be answered, by the pace of late; 0 while that is not known.

        Those in flight count as those that wait: more of them at a time make each slower. The pace is that of busy
        models, so that few requests do not look like slow models; the longest interval, perhaps a restart, is left out.
        """
        if len(self._intervals_s) < FEWEST_FOR_A_PACE:
            return 0.0
        pace_s = (sum(self._intervals_s) - max(self._intervals_s)) / (len(self._intervals_s) - 1)
        return (self.waiting(priority) + on_their_way + self.in_flight + 1) * pace_s

    def refuse_late(self, priority: Priority, within_s: float, on_their_way: int = 0) -> None:
        """Raises OverloadedError when a window that came now would not surely be answered within `within_s`.

        on_their_way : windows that will wait here soon, and come before it

        While the pace is not known, no more are let in than MOST_AT_FIRST times those that may be in flight.
        """
        ahead = self.waiting(priority) + on_their_way
        expected_s = self.expected_s(priority, on_their_way)
        if MARGIN * expected_s > within_s:
            raise OverloadedError(f"{ahead} windows wait, about {expected_s:.0f} s of work", expected_s - within_s / 2)
        if not expected_s and ahead >= MOST_AT_FIRST * self._max_in_flight:
            raise OverloadedError(f"{ahead} windows wait, and few have been answered yet", RETRY_AT_FIRST_S)

    async def acquire(self, turns: Turns) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        turns.waiting.append(turn)
        if turns.priority is Priority.INTERACTIVE:
            self._clip_at_s = time.monotonic()
        if len(turns.waiting) == 1:
            self._queues[turns.priority].append(turns)
        self._grant()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it was granted in the same moment
                self.release(turns.priority, None)
            else:
                self._leave(turns, turn)
            raise

    def release(self, priority: Priority, begun_s: float | None) -> None:
        """A window is no longer in flight. `begun_s`: when it began, if it was answered."""
        now_s = time.monotonic()
        if begun_s is not None and self._busy_since_s is not None:
            self._intervals_s.append(now_s - self._busy_since_s)
            self._busy_since_s = now_s
        self._in_flight_of[priority] -= 1
        self._grant()
        if not self._is_busy():
            self._busy_since_s = None

    def _leave(self, turns: Turns, turn: asyncio.Future[None]) -> None:
        if turn in turns.waiting:
            turns.waiting.remove(turn)
        if not turns.waiting and turns in self._queues[turns.priority]:
            self._queues[turns.priority].remove(turns)

    def _has_room(self, priority: Priority) -> bool:
        of_recordings = self.in_flight - self._in_flight_of[Priority.INTERACTIVE]
        if priority is Priority.INTERACTIVE:
            # where recordings have what is theirs without clips, a clip takes the place of each window that is done
            is_wide = of_recordings > self._max_in_flight - self._kept_free
            return self.in_flight < (self._max_without_clips if is_wide else self._max_in_flight)
        limit = self._max_in_flight if self._clips_come() else self._max_without_clips
        return self.in_flight < limit and of_recordings < limit - self._kept_free

    def _clips_come(self) -> bool:
        return bool(
            self._in_flight_of[Priority.INTERACTIVE]
            or self._queues[Priority.INTERACTIVE]
            or time.monotonic() < self._clip_at_s + CLIPS_LINGER_S
        )

    def _grant(self) -> None:
        while (priority := self._next()) is not None:
            queue = self._queues[priority]
            turns = queue.popleft()
            turn = turns.waiting.popleft()
            if turns.waiting:
                queue.append(turns)
            if turn.done():  # cancelled, and not yet taken out
                continue
            self._in_flight_of[turns.priority] += 1
            if self._is_busy() and self._busy_since_s is None:
                self._busy_since_s = time.monotonic()
            turn.set_result(None)

    def _next(self) -> Priority | None:
        able = [priority for priority in Priority if self._queues[priority] and self._has_room(priority)]
        if not able:
            return None
        chosen = next((priority for priority in able[1:] if self._passed_over[priority] >= YIELD_EVERY - 1), able[0])
        for priority in able:
            self._passed_over[priority] = 0 if priority is chosen else self._passed_over[priority] + 1
        return chosen

    def _is_busy(self) -> bool:
        return self.in_flight >= (self._max_in_flight + 1) // 2
