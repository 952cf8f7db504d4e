"""What became of each call, and the file that keeps it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from aircheck.load.workload import Kind

LATE_S = 0.05
NOT_SENT = "NotSent"  # still in the queue when the load ended


@dataclass(frozen=True)
class Call:
    """One call. Times are seconds from the start of the load.

    at_s : when it should have begun; latency counts from here, so that a client that falls behind hides nothing
    first_s : of a recording or live stream, its first window's verdict
    delays_s : of a live stream, from each window's end, as it was spoken, to its verdict
    error : the type of what was raised; empty: answered
    """

    index: int
    kind: Kind
    at_s: float
    started_s: float
    ended_s: float
    audio_s: float
    sent_bytes: int
    received_bytes: int = 0
    first_s: float | None = None
    delays_s: Sequence[float] = field(default=())
    error: str = ""

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Call:
        """From what `asdict` made."""
        return cls(**{**fields, "kind": Kind(fields["kind"])})

    @property
    def latency_s(self) -> float:
        """From the intended start to the last verdict, or the error."""
        return self.ended_s - self.at_s

    @property
    def is_late(self) -> bool:
        """Whether the client itself began it late: no user was free, or no CPU."""
        return self.started_s - self.at_s > LATE_S


class Ledger:
    """All calls so far. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: list[Call] = []
        self._n_taken = 0

    def add(self, calls: Iterable[Call]) -> None:
        with self._lock:
            self._calls.extend(calls)

    def clear(self) -> None:
        with self._lock:
            self._calls, self._n_taken = [], 0

    def all(self) -> tuple[Call, ...]:
        with self._lock:
            return tuple(self._calls)

    def take(self) -> list[dict[str, Any]]:
        """Those that were not taken yet, as plain data."""
        with self._lock:
            new, self._n_taken = self._calls[self._n_taken :], len(self._calls)
        return [asdict(call) for call in new]


def write(path: Path, began_unix_s: float, calls: Iterable[Call]) -> None:
    """A line for the load, then a line a call."""
    lines = [{"began_unix_s": began_unix_s}, *(asdict(call) for call in calls)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def read(path: Path) -> tuple[float, tuple[Call, ...]]:
    """When the load began, on the clock of time.time(), and its calls."""
    first, *lines = path.read_text().splitlines()
    return float(json.loads(first)["began_unix_s"]), tuple(Call.of(json.loads(line)) for line in lines)
