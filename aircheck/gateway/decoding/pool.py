"""Recordings to windows in decoder processes, as many at a time as there are processes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import Context
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any

from pydantic import TypeAdapter, ValidationError

from aircheck.gateway.counters import DECODE_ERRORS, SANDBOX_RESTARTS
from aircheck.gateway.decoding.errors import DecoderLostError
from aircheck.gateway.decoding.formats import HEAD_BYTES, format_name
from aircheck.gateway.decoding.messages import (
    MAX_MESSAGE,
    WINDOWS_AHEAD,
    Failure,
    Kind,
    RecordingInfo,
    Summary,
    WindowHeader,
)
from aircheck.gateway.decoding.process import DecoderProcess, Zygote
from aircheck.gateway.decoding.sandbox import SandboxLimits
from aircheck.gateway.decoding.spool import Spool
from aircheck.gateway.log import LOG
from aircheck.policy.own import Own
from aircheck.tracing.spans import past_span, span
from preprocessing import errors
from preprocessing.container import Limits
from preprocessing.cutting import LIVE_LEAD, LIVE_TAIL

_SAMPLE_RATE_HZ = 16_000
_WAVE_HEADER_BYTES = 1_024
_BAD_AUDIO = {
    name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, errors.AudioError)
}
_RECORDING = TypeAdapter(RecordingInfo)
_SUMMARY = TypeAdapter(Summary)
_WINDOW = TypeAdapter(WindowHeader)
_FAILURE = TypeAdapter(Failure)


@dataclass(frozen=True)
class DecodedWindow:
    """A stretch of the recording that the models take as one clip.

    wav : 16 kHz mono float WAVE
    own : where in it the stretch lies; None: it is all of it
    """

    start_s: float
    duration_s: float
    wav: bytes
    own: Own | None = None


class DecoderPool:
    """Decoder processes. Each has one recording at a time, and waits, at no cost but memory, where its client does."""

    def __init__(self, limits: SandboxLimits, max_processes: int) -> None:
        self._limits = limits
        self._places = asyncio.Semaphore(max_processes)
        self._max_processes = max_processes
        self._zygote: Zygote | None = None
        self._launching = asyncio.Lock()
        self._idle: list[DecoderProcess] = []
        self._spare: asyncio.Task[None] | None = None  # being started for who comes next
        self.lost = 0
        """Processes that a recording has cost."""

    async def __aenter__(self) -> DecoderPool:
        """Raises SandboxError when decoding cannot be confined here."""
        self._idle.append(await self._start())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._spare is not None:
            self._spare.cancel()
            await asyncio.gather(self._spare, return_exceptions=True)
        for process in self._idle:
            process.kill()
        self._idle.clear()
        if self._zygote is not None:
            self._zygote.close()

    @asynccontextmanager
    async def decode(
        self, spool: Spool, limits: Limits, window_max_s: float, is_live: bool = False
    ) -> AsyncIterator[Decoding]:
        """The recording that `spool` holds or will hold; waits for a free process, then for what the file's start says.

        is_live : it is heard while it is made: windows are short, and each comes as soon as it can end

        Raises AudioError, DecoderLostError. Leaving the block ends the decoding.
        """
        async with self._places:
            with span("decoder process"):
                process = await self._take()
            decoding = Decoding(process, spool, self._limits, limits, window_max_s, is_live)
            try:
                async with decoding:
                    yield decoding
            finally:
                if decoding.is_lost:
                    self.lost += 1
                    SANDBOX_RESTARTS.inc()
                self._give_back(process, decoding.is_over)

    async def _take(self) -> DecoderProcess:
        while self._idle:
            process = self._idle.pop()
            if not process.exited.done():
                break
            process.kill()
        else:
            process = await self._start()
        if not self._idle and self._spare is None:
            self._spare = asyncio.create_task(self._start_spare(), context=Context())
        return process

    def _give_back(self, process: DecoderProcess, is_over: bool) -> None:
        """What is in the middle of a recording is not waited for: a new process is a matter of milliseconds."""
        process.recordings += 1
        worn = process.recordings >= self._limits.max_recordings or len(self._idle) >= self._max_processes
        if is_over and not worn and not process.exited.done():
            self._idle.append(process)
        else:
            process.kill()

    async def _start_spare(self) -> None:
        try:
            self._idle.append(await self._start())
        except Exception as error:
            LOG.warning("no decoder process could be started ahead: %s", error)
        finally:
            self._spare = None

    async def _start(self) -> DecoderProcess:
        async with self._launching:
            if self._zygote is None or not self._zygote.is_alive:
                if self._zygote is not None:
                    self._zygote.close()
                # it outlives the call that found none, whose id must not be in its lines
                self._zygote = await asyncio.create_task(Zygote.launch(self._limits), context=Context())
        return await self._zygote.fork()


class Decoding:
    """A recording that is being decoded."""

    recording: RecordingInfo
    """What its start says."""
    summary: Summary
    """After the last window: what all of it says."""

    def __init__(
        self,
        process: DecoderProcess,
        spool: Spool,
        costs: SandboxLimits,
        limits: Limits,
        window_max_s: float,
        is_live: bool,
    ) -> None:
        self._process, self._spool, self._costs = process, spool, costs
        self._start = {"limits": asdict(limits), "window_max_s": window_max_s, "is_live": is_live}
        around = LIVE_LEAD + LIVE_TAIL if is_live else 0
        self._max_payload_bytes = (int((window_max_s + 1) * _SAMPLE_RATE_HZ) + around) * 4 + _WAVE_HEADER_BYTES
        self._windows: asyncio.Queue[DecodedWindow | Exception | None] = asyncio.Queue()
        self._found: asyncio.Future[RecordingInfo] = asyncio.get_running_loop().create_future()
        self._owed = WINDOWS_AHEAD
        self._alive_at_s = 0.0  # the last sign of life, or the last time that it was given something to do
        self._decoding_since_s = 0.0  # the next window
        self.cpu_before_s = 0.0
        """CPU seconds that the process had taken before this recording."""
        self._pump: asyncio.Task[None] | None = None
        self.position_s = 0.0
        """How far the recording has been decoded."""
        self.is_over = False
        """The process waits for another recording."""
        self.is_lost = False
        """It has ended, or was killed by a limit."""

    async def __aenter__(self) -> Decoding:
        self._pump = asyncio.create_task(self._run())
        try:
            with span("header") as made:
                self.recording = await asyncio.shield(self._found)
                made.set_attributes({"codec": self.recording.codec, "sample_rate_hz": self.recording.sample_rate_hz})
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def cpu_used_s(self) -> float:
        """CPU seconds that the process has taken in all. Raises OSError when it is gone."""
        return self._process.cpu_used_s()

    async def windows(self) -> AsyncIterator[DecodedWindow]:
        """The windows, in order. The process decodes two ahead, and then waits for them to be taken."""
        while (item := await self._windows.get()) is not None:
            if isinstance(item, Exception):
                raise item
            if not self._owed:
                self._decoding_since_s = time.monotonic()
            self._owed += 1
            self._alive_at_s = asyncio.get_running_loop().time()
            with contextlib.suppress(OSError):  # it is gone: the end of the queue says why
                await self._process.send(Kind.MORE)
            yield item

    async def _stop(self) -> None:
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.gather(self._pump, return_exceptions=True)
        if not self._found.done():
            self._found.cancel()

    async def _run(self) -> None:
        """Hears the process out, and hands on what it says."""
        end: Exception | None = None
        try:
            self.cpu_before_s = self._process.cpu_used_s()
            self._allow_cpu()
            self._process.send_start(self._spool.readable_file, self._start | self._arrived())
            while (message := await self._receive()) is not None:
                await self._handle(*message)
            self.is_over = True
        except errors.AudioError as error:
            end, self.is_over = error, True
        except DecoderLostError as error:
            end = error
        except (ValidationError, ValueError, KeyError, TypeError, AttributeError) as error:
            end = self._lost(f"the decoder answered with rubbish ({type(error).__name__})")
        except OSError:
            end = self._lost(await self._process.cause())
        except Exception as error:
            LOG.exception("decoding failed")
            end = self._lost(f"an internal fault ({type(error).__name__})")
        if end is not None:
            DECODE_ERRORS.labels(self._format(), type(end).__name__).inc()
            if not self._found.done():
                self._found.set_exception(end)
        self._windows.put_nowait(end)

    async def _receive(self) -> tuple[Kind, dict[str, Any], bytes] | None:
        """The next message; None after the last. Raises DecoderLostError when the process makes no progress."""
        if hasattr(self, "summary"):
            return None
        loop = asyncio.get_running_loop()
        self._alive_at_s = loop.time()
        receiving = asyncio.create_task(self._process.receive(self._max_payload_bytes))
        try:
            while not receiving.done():
                await asyncio.wait([receiving], timeout=max(0.01, self._alive_at_s + self._costs.stall_s - loop.time()))
                if self._owed and loop.time() - self._alive_at_s >= self._costs.stall_s and not receiving.done():
                    raise self._lost(f"the decoder made no progress for {self._costs.stall_s:g} s")
                if not self._owed:
                    self._alive_at_s = loop.time()
            return receiving.result()
        finally:
            receiving.cancel()

    async def _handle(self, kind: Kind, fields: dict[str, Any], payload: bytes) -> None:
        if kind is Kind.NEED:
            end = int(fields["end"])
            self._spool.want(end)
            await self._spool.arrived(end)
            self._allow_cpu()
            await self._process.send(Kind.ARRIVED, self._arrived())
        elif kind is Kind.FOUND:
            self._found.set_result(_RECORDING.validate_python(fields))
            self._decoding_since_s = time.monotonic()
        elif kind is Kind.WINDOW:
            header = _WINDOW.validate_python(fields)
            if not self._owed:
                raise ValueError("a window that was not asked for")
            self._owed -= 1
            past_span("decode window", self._decoding_since_s, start_s=header.start_s, duration_s=header.duration_s)
            self._decoding_since_s = time.monotonic()
            self.position_s = header.position_s
            self._spool.want(header.read_bytes)
            self._allow_cpu()
            own = Own(start_s=header.own_s[0], end_s=header.own_s[1]) if header.own_s else None
            self._windows.put_nowait(DecodedWindow(header.start_s, header.duration_s, payload, own))
        elif kind is Kind.DONE:
            self.summary = _SUMMARY.validate_python(fields)
            self.position_s = self.summary.decoded_s
        elif kind is Kind.FAILED:
            failure = _FAILURE.validate_python(fields)
            self.position_s = failure.position_s
            if failure.error not in _BAD_AUDIO:
                raise self._lost(
                    "it needs more memory than a recording may take"
                    if failure.error == "MemoryError"
                    else f"the decoder failed ({failure.error})"
                )
            raise _BAD_AUDIO[failure.error](failure.message[:MAX_MESSAGE])
        else:
            raise ValueError(f"a message of kind {kind}")

    def _format(self) -> str:
        container = self._found.result().container if self._found.done() and not self._found.cancelled() else ""
        try:
            head = os.pread(self._spool.readable_file, HEAD_BYTES, 0)
        except OSError:  # its client has gone
            head = b""
        return format_name(container, head)

    def _arrived(self) -> dict[str, Any]:
        return {"size": self._spool.size, "is_complete": self._spool.is_complete}

    def _allow_cpu(self) -> None:
        self._process.allow_cpu(self.cpu_before_s, self._costs.cpu_s(self._spool.size, self.position_s))

    def _lost(self, why: str) -> DecoderLostError:
        self.is_lost = True
        return DecoderLostError(f"the file could not be decoded: {why}")
