"""A recording of any length to a stream of verdicts: windows checked in parallel, answered in order, then folded."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from aircheck.cores import usable_cores
from aircheck.gateway.answers import Answer
from aircheck.gateway.episode_language import SURE, Detection, EpisodeLanguage
from aircheck.policy.compositions import Compositions
from aircheck.policy.fold import add_undecoded, fold, shift
from aircheck.policy.own import Own, SaidWord, last_said
from aircheck.policy.packs import CoverageRules
from aircheck.tracing.spans import in_span
from aircheck_client.schema import Verdict, clock
from preprocessing.errors import CorruptAudioError

FIRST_PARALLEL = 1 + usable_cores()
"""Windows in flight until the first is answered: more would share the cores with it, and it would come later. One for
each core, and one that is decoded when the first core is free."""
AHEAD = 2
"""So many times what may be in flight are in flight or wait, answered, for one before them: what takes long does not
hold up all that is behind it."""
FOREIGN_SPEECH_S = 5.0  # seconds of speech whose language is worth a warning when it is not the episode's
_SHARED = ("context", "models", "policy_pack", "policy_version", "policy_sha256", "server_version")
"""Fields that are alike in almost every window of a recording, and nearly half of what a silent one's verdict takes."""


class Window(Protocol):
    """A stretch of the recording that the models take as one clip; times in seconds."""

    @property
    def start_s(self) -> float: ...

    @property
    def duration_s(self) -> float: ...

    @property
    def wav(self) -> bytes:
        """WAVE bytes: the stretch, or more where `own` says so."""
        ...

    @property
    def own(self) -> Own | None:
        """Where in `wav` the stretch lies, which alone is reported; None: it is all of it."""
        ...


CheckWindow = Callable[[bytes, str, Own | None], Awaitable[Answer]]
"""A window as WAVE bytes, the language to transcribe it in (empty: detect it), and what of it is reported (None: all),
to what the models answer, with times from the start of that."""


@dataclass(frozen=True)
class Terms:
    """How a recording is scanned.

    parallel : most windows in flight; at most AHEAD times as many are decoded and not yet answered in their order
    coverage : what follows where the recording could not be decoded; None: nothing, it is only counted
    language : what to transcribe in; empty: detected over the episode
    is_live : answers are wanted at once: what is not sure yet is transcribed in the language of its own window, and no
        window is transcribed twice
    compositions : the pack's, for what lies in one window beside what lies in another
    """

    parallel: int
    coverage: CoverageRules | None = None
    language: str = ""
    compositions: Compositions | None = None
    is_live: bool = False


class Recording:
    """One recording on its way through the models."""

    def __init__(self, check: CheckWindow, terms: Terms) -> None:
        self._check, self._terms = check, terms
        self._verdicts: list[Verdict] = []
        self.checked_s = 0.0
        """Windows up to here have their verdicts."""

    async def windows(self, windows: AsyncIterator[Window]) -> AsyncGenerator[Answer, None]:
        """The answer on each window, in order, times relative to the recording.

        At most `terms.parallel` windows are in flight, and some wait: for one before them, or until it is known which
        language they are in. Closing the iterator cancels what is in flight. Raises what `windows` and `check` raise,
        after the verdicts of all windows before that.
        """
        async with _Windows(self._check, self._terms) as checked, aclosing(checked.run(windows)) as answers:
            async for window, answer in answers:
                verdict = _in_file_time(answer.verdict, window)
                self._verdicts.append(_sharing(verdict, self._verdicts[0]) if self._verdicts else verdict)
                self.checked_s = window.start_s + window.duration_s
                yield answer.with_verdict(verdict)

    def verdict(self, undecoded_s: float, warnings: tuple[str, ...]) -> Verdict:
        """The verdict on all windows so far. Raises CorruptAudioError when there are none."""
        if not self._verdicts:
            raise CorruptAudioError("the file holds no audio samples; was the recording cut off?")
        folded = fold(self._verdicts, self.checked_s, self._terms.compositions)
        whole = add_undecoded(folded, undecoded_s, self._terms.coverage)
        every = tuple(dict.fromkeys((*warnings, *whole.warnings)))
        return whole.model_copy(update={"warnings": every, "recording_s": self.checked_s})

    @property
    def is_empty(self) -> bool:
        """No window has its verdict yet."""
        return not self._verdicts


def _in_file_time(verdict: Verdict, window: Window) -> Verdict:
    """Shifted, and with a warning where the window is surely in another language than it was transcribed in."""
    shifted = shift(verdict, window.start_s)
    other = shifted.detected_language
    if (
        shifted.language
        and other not in ("", shifted.language)
        and shifted.detected_probability >= SURE
        and shifted.coverage.speech_s >= FOREIGN_SPEECH_S
    ):
        warning = (
            f"{clock(shifted.start_s)}–{clock(shifted.end_s)} seems to be in {other!r} "
            f"({shifted.detected_probability:.2f}), but was transcribed in {shifted.language!r} like what is around it"
        )
        return shifted.model_copy(update={"warnings": (*shifted.warnings, warning)})
    return shifted


def _sharing(verdict: Verdict, first: Verdict) -> Verdict:
    """The same verdict, with the first one's objects for what is the same: it is kept, with thousands of others."""
    update = {name: getattr(first, name) for name in _SHARED if getattr(verdict, name) == getattr(first, name)}
    return verdict.model_copy(update=update)


@dataclass(frozen=True)
class _Sent:
    window: Window
    language: str  # that it was sent with
    answer: asyncio.Task[Answer]


class _Windows:
    """What a window is transcribed in follows from the windows before it, not from when their verdicts come.

    A window is sent in the language known so far; if another one is decided for it meanwhile, it is sent again.
    """

    def __init__(self, check: CheckWindow, terms: Terms) -> None:
        self._check = check
        self._language = EpisodeLanguage(terms.language)
        self._is_live = terms.is_live
        self._ahead = asyncio.Semaphore(AHEAD * terms.parallel)
        self._room = asyncio.Semaphore(min(FIRST_PARALLEL, terms.parallel))
        self._reserve = terms.parallel - min(FIRST_PARALLEL, terms.parallel)  # room that is there after the first
        self._pending: asyncio.Queue[_Sent | BaseException | None] = asyncio.Queue()
        self._held: deque[_Sent] = deque()  # answered, and waiting for a decision about their language
        self._tasks: set[asyncio.Task[Answer]] = set()
        self._reader: asyncio.Task[None] | None = None
        self._latest: asyncio.Task[Answer] | None = None
        self._said: tuple[SaidWord, ...] = ()  # the last words of windows that overlap

    async def __aenter__(self) -> _Windows:
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = [*self._tasks, *([self._reader] if self._reader else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def run(self, windows: AsyncIterator[Window]) -> AsyncGenerator[tuple[Window, Answer], None]:
        """Each window and the answer on it, in order."""
        self._reader = asyncio.create_task(self._read(windows))
        fault: BaseException | None = None
        while (item := await self._pending.get()) is not None:
            if isinstance(item, BaseException):
                fault = item
                break
            try:
                sent = item if self._is_live else await self._in(self._language.language, item)
                detected = Detection.of((await sent.answer).verdict)
            except Exception as error:
                fault = error
                break
            released = self._language.add(detected)
            self._ahead.release()
            for _ in range(self._reserve):
                self._room.release()
            self._reserve = 0
            if self._is_live:
                yield sent.window, await sent.answer
                continue
            self._held.append(sent)
            async for answer in self._release(released):
                yield answer
        if not self._is_live:
            async for answer in self._release(self._language.finish()):
                yield answer
        if fault is not None:
            raise fault

    async def _read(self, windows: AsyncIterator[Window]) -> None:
        end: BaseException | None = None
        try:
            await self._next()
            async for window in windows:
                sent = self._send(window, self._language.language)
                sent.answer.add_done_callback(lambda _: self._room.release())
                self._pending.put_nowait(sent)
                await self._next()
        except Exception as error:
            end = error
        self._pending.put_nowait(end)

    async def _next(self) -> None:
        """Returns when there is room for one window more."""
        await self._ahead.acquire()
        await self._room.acquire()

    async def _release(self, languages: list[str]) -> AsyncIterator[tuple[Window, Answer]]:
        # all are sent before the first is waited for
        for sent in [await self._in(language, self._held.popleft()) for language in languages]:
            yield sent.window, await sent.answer

    async def _in(self, language: str, sent: _Sent) -> _Sent:
        """The window as transcribed in `language`: what was sent, where that is the same."""
        verdict = (await sent.answer).verdict
        actual = sent.language or verdict.detected_language
        wanted = language or verdict.detected_language
        if actual == wanted or not (verdict.coverage.speech_s or verdict.segments):
            return sent
        return self._send(sent.window, language)

    def _send(self, window: Window, language: str) -> _Sent:
        task = asyncio.ensure_future(
            in_span(
                partial(self._ask, window, language, self._latest),
                "window",
                start_s=window.start_s,
                duration_s=window.duration_s,
            )
        )
        self._latest = task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return _Sent(window, language, task)

    async def _ask(self, window: Window, language: str, before: asyncio.Task[Answer] | None) -> Answer:
        """What overlaps the window before waits for its words, so as to leave them out."""
        own = window.own
        if own is None:
            return await self._check(window.wav, language, None)
        if before is not None:
            await before
        answer = await self._check(window.wav, language, own.after(self._said, window.start_s - own.start_s))
        self._said = last_said(self._said, answer.verdict.segments, window.start_s)
        return answer
