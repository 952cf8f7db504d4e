"""Requests with known right answers, and what became of them."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass
from typing import BinaryIO, Literal

from aircheck_client import AircheckError, AsyncAircheckClient, DeadlineError, Verdict

LOST_AFTER_S = 180.0  # a request without an answer by then counts as lost


@dataclass(frozen=True)
class Outcome:
    """What became of a request. `lost`: no answer in time, or a wrong one."""

    kind: Literal["answered", "error", "lost"]
    what: str = ""  # the error's type, or how it was lost
    took_s: float = 0.0


class Requests:
    """Clips and a recording, each with the verdict that the server gives at rest."""

    def __init__(self, client: AsyncAircheckClient, clips: list[bytes], recording: bytes):
        self._client, self._clips, self._recording = client, clips, recording
        self._right: dict[bytes, Verdict] = {}

    async def learn(self) -> None:
        """Asks for every verdict, one after another."""
        for clip in self._clips:
            self._right[clip] = await self._client.scan_clip(clip, timeout_s=LOST_AFTER_S)
        self._right[self._recording] = await self._client.scan(self._recording, timeout_s=LOST_AFTER_S)

    async def clip(self, index: int = 0, timeout_s: float = LOST_AFTER_S) -> Outcome:
        """A clip's outcome; `index` chooses one, and may be of any size."""
        clip = self._clips[index % len(self._clips)]
        return await self._outcome(clip, self._client.scan_clip(clip, timeout_s=timeout_s))

    async def scan(self, timeout_s: float = LOST_AFTER_S, source: BinaryIO | None = None) -> Outcome:
        """The recording's outcome; `source` has its bytes, and ways of its own."""
        return await self._outcome(self._recording, self._client.scan(source or self._recording, timeout_s=timeout_s))

    async def _outcome(self, audio: bytes, call: Awaitable[Verdict]) -> Outcome:
        begun_s = time.monotonic()
        try:
            verdict = await call
        except DeadlineError:
            return Outcome("lost", "no answer", time.monotonic() - begun_s)
        except AircheckError as error:
            return Outcome("error", type(error).__name__, time.monotonic() - begun_s)
        is_right = content(verdict) == content(self._right[audio])
        return Outcome("answered" if is_right else "lost", "" if is_right else "wrong", time.monotonic() - begun_s)


def content(verdict: Verdict) -> tuple[object, ...]:
    """What must be the same whatever happens meanwhile."""
    return verdict.action, verdict.findings, tuple(segment.text for segment in verdict.segments), verdict.coverage


@dataclass(frozen=True)
class Row:
    """One fault, and what it did to the requests that were in flight.

    noticed_s : from the fault to the moment when health was no longer SERVING; None where it stayed
    recovered_s : from the fault to the first right answer afterwards, with health SERVING; None: never
    """

    fault: str
    in_flight: int
    answered: int
    errors: dict[str, int]
    lost: dict[str, int]
    noticed_s: float | None
    recovered_s: float | None
    note: str = ""

    @classmethod
    def of(
        cls,
        fault: str,
        outcomes: Iterable[Outcome],
        noticed_s: float | None,
        recovered_s: float | None,
        note: str = "",
    ) -> Row:
        found = list(outcomes)

        def count(kind: str) -> dict[str, int]:
            return dict(Counter(outcome.what for outcome in found if outcome.kind == kind))

        answered = sum(outcome.kind == "answered" for outcome in found)
        return cls(
            fault, len(found), answered, count("error"), count("lost"), _rounded(noticed_s), _rounded(recovered_s), note
        )


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)


class HealthWatch:
    """Asks for the server's health twenty times a second, as a load balancer would if it could."""

    def __init__(self, client: AsyncAircheckClient):
        self._client = client
        self.unhealthy_at_s: float | None = None
        self.healthy_at_s: float | None = None

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            is_ready = await self._client.ready()
            if not is_ready:
                self.unhealthy_at_s = self.unhealthy_at_s or time.monotonic()
                self.healthy_at_s = None
            else:
                self.healthy_at_s = self.healthy_at_s or time.monotonic()
            await asyncio.sleep(0.05)
