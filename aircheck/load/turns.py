"""Which arrival is whose turn. Open loop: by the clock, however slow the server is. Closed loop: when one is free.

Runs under gevent: `queue`, `time` and threads are Locust's patched ones.
"""

from __future__ import annotations

import itertools
import queue
import threading
import time
from collections.abc import Iterator

from aircheck.load.calls import NOT_SENT, Call
from aircheck.load.workload import Arrival, Kind, Workload

LEAD_S = 0.5  # from the start of the load to its first arrival, while users connect
DRAIN_S = 60.0  # beyond the calls' timeout, until what is still in the queue is given up
_LOOK_S = 0.5  # between looks at whether the load has ended


class Turns:
    """The arrivals of one process: every `n`th of the load, from `rank` on, so that processes share one schedule."""

    def __init__(self, workload: Workload, rank: int = 0, n: int = 1):
        self._workload, self._rank, self._n = workload, rank, n
        self._is_open = workload.loop == "open"
        self._arrivals = workload.arrivals()[rank::n] if self._is_open else ()
        self._queue: queue.SimpleQueue[Arrival] = queue.SimpleQueue()
        self._indexes = itertools.count(rank, n)
        self._lock = threading.Lock()
        self._under_way = 0
        self._is_paced = not self._is_open
        self._is_over = False
        self.began_s = time.monotonic() + LEAD_S
        self.began_unix_s = time.time() + LEAD_S

    def pace(self) -> None:
        """Puts each arrival into the queue when its time has come; returns after the last."""
        for arrival in self._arrivals:
            time.sleep(max(0.0, self.began_s + arrival.at_s - time.monotonic()))
            if self._is_over:
                return
            self._queue.put(arrival)
        self._is_paced = True

    def next(self, kind: Kind) -> Arrival | None:
        """What a user calls now; None: nothing yet, ask again. `done` must follow.

        In a closed loop it is of the user's own kind. In an open one all users are one pool: Locust may put those of
        one kind on one worker, and an arrival must not wait for a user that is elsewhere.
        """
        arrival = self._waiting() if self._is_open else self._another(kind)
        if arrival is not None:
            with self._lock:
                self._under_way += 1
        return arrival

    def done(self) -> None:
        """A call that `next` gave has ended."""
        with self._lock:
            self._under_way -= 1

    @property
    def is_done(self) -> bool:
        """Whether every call was made and has ended."""
        if self._is_over:
            return True
        elapsed_s = time.monotonic() - self.began_s
        return elapsed_s >= self._workload.seconds and self._is_paced and self._queue.empty() and not self._under_way

    def wait(self) -> None:
        """Returns when it is done, or too late."""
        last_s = self.began_s + self._workload.seconds + self._workload.timeout_s + DRAIN_S
        while not self.is_done and time.monotonic() < last_s:
            time.sleep(_LOOK_S)
        self._is_over = True

    def not_sent(self) -> Iterator[Call]:
        """What is still in the queue: each is a call that got no answer."""
        self._is_over = True
        now_s = time.monotonic() - self.began_s
        while not self._queue.empty():
            arrival = self._queue.get()
            yield Call(
                    arrival.index, arrival.kind, arrival.at_s, now_s, now_s, arrival.audio_s, 0, error=NOT_SENT
                )  # fmt: skip

    def _waiting(self) -> Arrival | None:
        try:
            return self._queue.get(timeout=_LOOK_S)
        except queue.Empty:
            return None

    def _another(self, kind: Kind) -> Arrival | None:
        at_s = time.monotonic() - self.began_s
        if self._is_over or not 0 <= at_s < self._workload.seconds:
            time.sleep(_LOOK_S)
            return None
        return self._workload.next_call(next(self._indexes), kind, at_s)
