"""Requests of one or more windows: each is answered once, and leaves its slots when its sender gives up."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice

from aircheck.inference.whisper.decoding.options import DecodedPass
from aircheck.inference.whisper.decoding.segments import WindowTranscript
from aircheck.inference.whisper.engine import WhisperEngine, Window

Answer = list[WindowTranscript] | Exception | None
"""A transcript a window, what went wrong, or None for a request that was cancelled."""

_POLL_S = 0.1
_MAX_ASKED = 50  # requests a round: each question is a round trip between processes, beside the decoder


@dataclass(eq=False)
class _Request:
    windows: Sequence[Window]
    answer: Callable[[Answer], None]
    is_cancelled: Callable[[], bool]
    futures: list[Future[tuple[DecodedPass, ...]]] = field(default_factory=list)
    is_answered: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def close(self, answer: Answer) -> None:
        with self.lock:
            self.is_answered = True
            self.answer(answer)

    def is_given_up(self) -> bool:
        """Whether its sender has gone; never asked of a sender that was answered, which Triton has freed by then."""
        with self.lock:
            return not self.is_answered and self.is_cancelled()

    def cancel(self) -> None:
        for future in self.futures:
            future.cancel()


class PendingRequests:
    """The requests that an engine has been given and has not answered."""

    def __init__(self, engine: WhisperEngine) -> None:
        self._engine = engine
        self._requests: dict[_Request, None] = {}  # in the order in which they are to be asked
        self._lock = threading.Lock()
        self._closing = threading.Event()
        # texts, JSON and the send, which waits for the server, must not hold up the engine's workers
        self._answers = ThreadPoolExecutor(1, "whisper-answers")
        self._watcher = threading.Thread(target=self._watch, name="whisper-cancellations", daemon=True)
        self._watcher.start()

    def submit(
        self, windows: Sequence[Window], answer: Callable[[Answer], None], is_cancelled: Callable[[], bool]
    ) -> None:
        """Queue the windows; the answer is an EngineBusyError when they are more than the engine's queue has room for.

        answer : called exactly once, when every window is done, on this thread or one of this object's; on one of the
            engine's after `close`
        is_cancelled : asked ten times a second, less often where more than 50 requests are pending, but neither during
            the answer nor after it; when true, the windows leave their slots
        """
        if not windows:
            answer([])
            return
        request = _Request(windows, answer, is_cancelled)
        with self._lock:
            self._requests[request] = None
        try:
            for window in windows:
                request.futures.append(self._engine.submit(window, block=False))
        except Exception as error:
            request.cancel()
            self._close(request, error)
            return
        waiting = _CountDown(len(windows), lambda: self._hand_over(request))
        for future in request.futures:
            future.add_done_callback(lambda _: waiting.count())

    def close(self) -> None:
        """Stop watching; the engine answers what is left when it is closed."""
        self._closing.set()
        self._watcher.join()
        self._answers.shutdown()

    def _hand_over(self, request: _Request) -> None:
        try:
            self._answers.submit(self._settle, request)
        except RuntimeError:  # shut down: the engine is being closed, and its thread has nothing else to do
            self._settle(request)

    def _settle(self, request: _Request) -> None:
        if any(future.cancelled() for future in request.futures):
            return self._close(request, None)
        try:
            decoded = [future.result() for future in request.futures]
            transcripts = [
                self._engine.transcript(result, window) for result, window in zip(decoded, request.windows, strict=True)
            ]
        except Exception as error:
            return self._close(request, error)
        return self._close(request, transcripts)

    def _close(self, request: _Request, answer: Answer) -> None:
        with self._lock:
            self._requests.pop(request, None)
        request.close(answer)

    def _watch(self) -> None:
        while not self._closing.wait(_POLL_S):
            self._ask_some()

    def _ask_some(self) -> None:
        """Ask the requests whose turn it is whether they are still wanted."""
        with self._lock:
            asked = list(islice(self._requests, _MAX_ASKED))
            for request in asked:
                self._requests[request] = self._requests.pop(request)  # to the end
        for request in asked:
            if request.is_given_up():
                request.cancel()


class _CountDown:
    """Calls a function when it has counted to zero; for several threads."""

    def __init__(self, n: int, then: Callable[[], None]) -> None:
        self._n, self._then, self._lock = n, then, threading.Lock()

    def count(self) -> None:
        with self._lock:
            self._n -= 1
            is_last = self._n == 0
        if is_last:
            self._then()
