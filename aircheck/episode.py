"""A recording of any length to a stream of verdicts: windows judged in parallel, answered in order, then folded."""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future

from aircheck.policy.decide import fold, shift
from aircheck_client.schema import Verdict
from preprocessing.container import Limits
from preprocessing.errors import CorruptAudioError
from preprocessing.windows import Episode, Window

Judge = Callable[[bytes], Verdict]  # a window as WAVE bytes to its verdict, with times relative to the window


def scan(
    audio: bytes | memoryview, judge: Judge, executor: Executor, limits: Limits, window_max_s: float, parallel: int
) -> Iterator[Verdict]:
    """The verdict of each window in order (times relative to the recording), then the episode's.

    At most `parallel` windows are decoded ahead and in flight, so memory does not grow with the recording. Closing the
    iterator cancels what has not begun. Raises AudioError for audio that cannot be used, and whatever `judge` raises.
    """
    episode = Episode(audio, limits)
    windows = episode.windows(window_max_s)
    pending: collections.deque[tuple[Window, Future[Verdict]]] = collections.deque()
    judged: list[Verdict] = []
    end_s = 0.0
    try:
        exhausted = False
        while True:
            while not exhausted and len(pending) < parallel:
                window = next(windows, None)
                if window is None:
                    exhausted = True
                else:
                    pending.append((window, executor.submit(judge, window.wav())))
            if not pending:
                break
            window, future = pending.popleft()
            verdict = shift(future.result(), window.start_s)
            judged.append(verdict)
            end_s = window.start_s + window.duration_s
            yield verdict.model_copy(update={"recording_s": episode.info.duration_s})
    finally:
        for _, future in pending:
            future.cancel()
    if not judged:
        raise CorruptAudioError("the file holds no audio samples; was the recording cut off?")
    yield fold(judged, end_s).model_copy(update={"warnings": episode.warnings(), "recording_s": end_s})
