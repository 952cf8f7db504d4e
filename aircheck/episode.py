"""A recording of any length to a stream of verdicts: windows checked in parallel, answered in order, then folded."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass

from aircheck.episode_language import SURE, Detection, EpisodeLanguage
from aircheck.policy.compositions import Compositions
from aircheck.policy.fold import add_undecoded, fold, shift
from aircheck.policy.packs import CoverageRules
from aircheck_client.schema import Verdict, clock
from preprocessing.container import Limits
from preprocessing.errors import CorruptAudioError
from preprocessing.windows import Episode, Window

CheckWindow = Callable[[bytes, str], Verdict]
"""A window as WAVE bytes, and the language to transcribe it in (empty: detect it), to its verdict, with times relative
to the window. Raises BusyError when there is no room for it now."""

FIRST_WAIT_S, LONGEST_WAIT_S = 0.1, 2.0  # between two tries of a window that was refused
PATIENCE_S = 60.0  # without an answer to any window, after which an episode gives up
FOREIGN_SPEECH_S = 5.0  # seconds of speech whose language is worth a warning when it is not the episode's


class BusyError(RuntimeError):
    """A window was refused, since too many are waiting."""


@dataclass(frozen=True)
class Terms:
    """How an episode is scanned.

    parallel : most windows decoded ahead and in flight
    coverage : what follows where the recording could not be decoded; None: nothing, it is only counted
    language : what to transcribe in; empty: detected over the episode
    compositions : the pack's, for what lies in one window beside what lies in another
    """

    limits: Limits
    window_max_s: float
    parallel: int
    coverage: CoverageRules | None = None
    language: str = ""
    compositions: Compositions | None = None


def scan(audio: bytes | memoryview, check: CheckWindow, executor: Executor, terms: Terms) -> Iterator[Verdict]:
    """The verdict of each window in order (times relative to the recording), then the episode's.

    Memory does not grow with the recording: at most `terms.parallel` windows are ahead, and a few wait until it is
    known which language they are in. Closing the iterator cancels what has not begun. Raises AudioError for audio that
    cannot be used, and whatever `check` raises; a BusyError only when no window was answered
    for PATIENCE_S.
    """
    episode = Episode(audio, terms.limits)
    verdicts: list[Verdict] = []
    end_s = 0.0
    with _Windows(check, executor, terms.language) as checked:
        for window, verdict in checked.run(episode.windows(terms.window_max_s), terms.parallel):
            verdicts.append(_in_file_time(verdict, window))
            end_s = window.start_s + window.duration_s
            yield verdicts[-1].model_copy(update={"recording_s": episode.info.duration_s})
    if not verdicts:
        raise CorruptAudioError("the file holds no audio samples; was the recording cut off?")
    whole = add_undecoded(fold(verdicts, end_s, terms.compositions), episode.undecoded_s(), terms.coverage)
    warnings = tuple(dict.fromkeys((*episode.warnings(), *whole.warnings)))
    yield whole.model_copy(update={"warnings": warnings, "recording_s": end_s})


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


@dataclass(frozen=True)
class _Sent:
    window: Window
    language: str  # that it was sent with
    verdict: Future[Verdict]


class _Windows:
    """The windows of one episode on their way through the models."""

    def __init__(self, check: CheckWindow, executor: Executor, language: str) -> None:
        self._check, self._executor = check, executor
        self._language = EpisodeLanguage(language)
        self._pending: deque[_Sent] = deque()
        self._held: deque[_Sent] = deque()  # answered, and waiting for a decision about their language
        self._stopped = threading.Event()
        self._answered_at_s = 0.0  # when a window was last answered

    def __enter__(self) -> _Windows:
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for sent in (*self._pending, *self._held):
            sent.verdict.cancel()

    def run(self, windows: Iterator[Window], parallel: int) -> Iterator[tuple[Window, Verdict]]:
        """Each window and its verdict, in order.

        What a window is transcribed in follows from the windows before it, not from when their verdicts come: one that
        was sent with another language meanwhile is sent again.
        """
        while True:
            while len(self._pending) < parallel and (window := next(windows, None)) is not None:
                self._pending.append(self._send(window, self._language.language))
            if not self._pending:
                break
            sent = self._in(self._language.language, self._pending.popleft())
            self._held.append(sent)
            yield from self._release(self._language.add(Detection.of(sent.verdict.result())))
        yield from self._release(self._language.finish())

    def _release(self, languages: list[str]) -> Iterator[tuple[Window, Verdict]]:
        # all are sent before the first is waited for
        released = deque(self._in(language, self._held.popleft()) for language in languages)
        try:
            while released:
                yield released[0].window, released.popleft().verdict.result()
        finally:
            for sent in released:
                sent.verdict.cancel()

    def _in(self, language: str, sent: _Sent) -> _Sent:
        """The window as transcribed in `language`: what was sent, where that is the same."""
        verdict = sent.verdict.result()
        actual = sent.language or verdict.detected_language
        wanted = language or verdict.detected_language
        if actual == wanted or not (verdict.coverage.speech_s or verdict.segments):
            return sent
        return self._send(sent.window, language)

    def _send(self, window: Window, language: str) -> _Sent:
        return _Sent(window, language, self._executor.submit(self._patiently, window.wav(), language))

    def _patiently(self, wav: bytes, language: str) -> Verdict:
        """Clips of others may fill the queue for a while, which must not cost an episode all its work."""
        begun_at_s, wait_s = time.monotonic(), FIRST_WAIT_S
        while True:
            try:
                verdict = self._check(wav, language)
            except BusyError:
                patient_until_s = max(begun_at_s, self._answered_at_s) + PATIENCE_S
                if time.monotonic() + wait_s >= patient_until_s or self._stopped.wait(wait_s):
                    raise
                wait_s = min(2 * wait_s, LONGEST_WAIT_S)
            else:
                self._answered_at_s = time.monotonic()
                return verdict
