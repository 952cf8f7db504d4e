"""One recording from the first byte of its upload to its verdict."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial

from aircheck.gateway.answers import Answer
from aircheck.gateway.calls import Call
from aircheck.gateway.counters import UPLOADED_BYTES, count_verdict
from aircheck.gateway.decoding import DecodedWindow, DecoderPool, Decoding, Spool, SpoolQuota, Summary
from aircheck.gateway.errors import StalledError
from aircheck.gateway.recording import Recording, Terms, Window
from aircheck.gateway.scheduling import Priority, WindowScheduler
from aircheck.gateway.windows import Models, WindowChecker
from aircheck.policy.packs import Rules
from aircheck.settings import Settings
from aircheck.tracing.spans import in_span, span
from aircheck_client.schema import Context, Verdict, clock
from preprocessing.container import Limits
from preprocessing.decoding import CLIP_S, SAMPLE_RATE_HZ
from preprocessing.errors import AudioError, CorruptAudioError
from preprocessing.wave_file import wave_bytes, wave_samples

EVENTS_AHEAD = 4  # that wait for a slow reader; then the scan waits too
LEAST_MISSING_S = 1.0  # of a recording that broke off, above what its pack tolerates


@dataclass(frozen=True)
class Request:
    """What a caller asks for.

    language : ISO 639-1 code to transcribe in; empty: detected
    """

    context: Context
    rules: Rules
    language: str
    priority: Priority

    def terms(self, parallel: int, is_live: bool = False) -> Terms:
        return Terms(parallel, self.rules.coverage, self.language, self.rules.compositions, is_live)


@dataclass(frozen=True)
class Parts:
    """What a scan is done with; one for all scans of the server."""

    settings: Settings
    models: Models
    decoders: DecoderPool
    quota: SpoolQuota
    scheduler: WindowScheduler

    def limits(self, max_bytes: int, max_duration_s: float) -> Limits:
        settings = self.settings
        return Limits(max_bytes, max_duration_s, settings.max_channels, settings.max_sample_rate_hz)


class PartialError(Exception):
    """A scan failed midway.

    verdict : on what was checked before that
    """

    def __init__(self, cause: Exception, verdict: Verdict):
        super().__init__(str(cause))
        self.cause, self.verdict = cause, verdict


class RecordingScan:
    """A recording of any length. Iterating `run` does all of it; closing the iterator stops all work at once."""

    def __init__(self, parts: Parts, request: Request, call: Call, is_live: bool = False):
        """is_live : it is heard while it is made: windows are short, so that their verdicts come soon"""
        self._parts, self._request, self._is_live = parts, request, is_live
        checker = WindowChecker(parts.models, parts.scheduler.join(request.priority), request.context, call.deadline_s)
        self.recording = Recording(checker, request.terms(parts.settings.episode_parallel_windows, is_live))
        self.received_bytes = 0
        self.decoding: Decoding | None = None
        self._cut_short: CorruptAudioError | StalledError | None = None  # why the upload ended before its end
        self._events: asyncio.Queue[Decoding | Answer | Verdict | Exception] = asyncio.Queue(EVENTS_AHEAD)

    async def run(self, chunks: AsyncIterator[bytes]) -> AsyncGenerator[Decoding | Answer | Verdict, None]:
        """The decoding as soon as the header was read, the answer on each window, then the recording's verdict.

        Raises PartialError when it fails after a window was answered; else what failed: AudioError, StalledError,
        SpoolFullError, BusyError, WindowError.
        """
        spool = Spool.create(self._parts.quota)
        tasks = [
            asyncio.create_task(self._guarded(in_span(partial(self._upload, chunks, spool), "upload"))),
            asyncio.create_task(self._guarded(self._work(spool))),
        ]
        try:
            while True:
                event = await self._events.get()
                if isinstance(event, Exception):
                    raise self._failure(event)
                yield event
                if isinstance(event, Verdict):
                    return
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            spool.close()

    async def _guarded(self, work: Awaitable[None]) -> None:
        try:
            await work
        except Exception as error:
            await self._events.put(error)

    async def _upload(self, chunks: AsyncIterator[bytes], spool: Spool) -> None:
        pause_s = self._parts.settings.upload_pause_s
        while True:
            await spool.room()
            try:
                chunk = await asyncio.wait_for(anext(chunks, None), pause_s)
            except TimeoutError:
                self._cut_short = StalledError(f"no byte came for {pause_s:g} s; send the file without pauses")
                break
            except CorruptAudioError as fault:  # the caller's
                self._cut_short = fault
                break
            if chunk is None:
                break
            self.received_bytes += len(chunk)
            UPLOADED_BYTES.inc(len(chunk))
            await spool.append(chunk)
        spool.complete()  # also where it was cut short: what came before that is still checked

    async def _work(self, spool: Spool) -> None:
        try:
            summary = await self._check(spool)
        except AudioError:
            if self._cut_short is not None:  # which is why it cannot be read to its end
                raise self._cut_short from None
            raise
        if self._cut_short is not None:
            raise self._cut_short
        with span("fold"):
            whole = await asyncio.to_thread(self.recording.verdict, summary.undecoded_s, summary.warnings)
        count_verdict(whole)
        await self._events.put(whole)

    async def _check(self, spool: Spool) -> Summary:
        settings = self._parts.settings
        limits = self._parts.limits(settings.max_episode_bytes, settings.max_episode_s)
        longest_s = settings.live_window_max_s if self._is_live else settings.window_max_s
        async with self._parts.decoders.decode(spool, limits, longest_s, self._is_live) as decoding:
            self.decoding = decoding
            await self._events.put(decoding)
            stated_s = decoding.recording.duration_s
            async with aclosing(self.recording.windows(decoding.windows())) as answers:
                async for answer in answers:
                    verdict = answer.verdict.model_copy(update={"recording_s": stated_s})
                    await self._events.put(answer.with_verdict(verdict))
            return decoding.summary

    def _failure(self, cause: Exception) -> Exception:
        """The fault with its place in the recording, and what was found before it."""
        if self.recording.is_empty:
            return cause
        at_s = self.recording.checked_s
        stated_s = self.decoding.recording.duration_s if self.decoding else None
        # how much is missing may be unknown; it is never so little that the pack would tolerate it
        least_s = self._request.rules.coverage.undecoded.tolerated_s + LEAST_MISSING_S
        missing_s = max(least_s, (stated_s or at_s) - at_s)
        warning = f"not checked from {clock(at_s)} on: {cause}"
        cause.add_note(f"checked until {clock(at_s)}")
        verdict = self.recording.verdict(missing_s, (warning,))
        count_verdict(verdict)
        return PartialError(cause, verdict)


@dataclass(frozen=True)
class Clip:
    """A decoded recording of at most CLIP_S seconds."""

    windows: tuple[DecodedWindow, ...]
    summary: Summary

    async def check(self, parts: Parts, request: Request, call: Call) -> Verdict:
        """The verdict on it. Raises BusyError, WindowError, CorruptAudioError when it holds no sound."""
        checker = WindowChecker(parts.models, parts.scheduler.join(request.priority), request.context, call.deadline_s)
        recording = Recording(checker, request.terms(parallel=1))
        async for _ in recording.windows(_within(self.windows, CLIP_S)):
            pass
        verdict = recording.verdict(self.summary.undecoded_s, self.summary.warnings)
        count_verdict(verdict)
        return verdict


async def decoded_clip(parts: Parts, audio: bytes) -> Clip:
    """Raises AudioError, SpoolFullError."""
    settings = parts.settings
    if not audio:
        raise CorruptAudioError("the audio has 0 bytes; was the upload cut off?")
    spool = Spool.create(parts.quota)
    try:
        await spool.append(audio)
        UPLOADED_BYTES.inc(len(audio))
        spool.complete()
        limits = parts.limits(settings.max_clip_bytes, CLIP_S)
        async with parts.decoders.decode(spool, limits, CLIP_S + 1) as decoding:
            windows = [window async for window in decoding.windows()]
            return Clip(tuple(windows), decoding.summary)
    finally:
        spool.close()


async def _within(windows: tuple[DecodedWindow, ...], longest_s: float) -> AsyncIterator[Window]:
    """A clip's only window; what is longer is a lossy codec's padding: the limit has been checked."""
    for window in windows:
        if window.duration_s <= longest_s:
            yield window
        else:
            samples = wave_samples(window.wav)[:, : int(longest_s * SAMPLE_RATE_HZ)]
            yield DecodedWindow(0.0, longest_s, wave_bytes(samples, SAMPLE_RATE_HZ))
