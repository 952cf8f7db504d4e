"""One window, decoded in as many passes as its speech takes (`decoding/seek.py`).

Each pass is a sequence of its own: the window's log-mel from where the last one ended, in whichever slot is free. All
share the window's future, so that cancelling it takes out the pass that is under way.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace

import torch
from torch import Tensor
from whisper.audio import FRAMES_PER_SECOND, N_FRAMES

from aircheck.inference.whisper.decoding.options import DecodedPass, DecodedWindow
from aircheck.inference.whisper.decoding.seek import MAX_PASSES, first_offset_s, next_offset_s, progress
from aircheck.inference.whisper.scheduling.sequence import Sequence, Window

_MAX_DOUBTFUL = 2  # passes in a row whose text is not to be believed, after which a window is given up


class WindowPasses:
    """Makes a window's passes one after another, and answers its future when nothing is left to decode."""

    def __init__(
        self, window: Window, timestamp_begin: int, max_tokens: int, seeks: bool, enqueue: Callable[[Sequence], None]
    ) -> None:
        """
        timestamp_begin : the token of 0.00 s
        max_tokens : at which a pass is cut off
        seeks : decode on where a text ends before the speech does; else there is one pass over the whole window
        enqueue : takes the later passes, on the thread that finished the one before; it may not wait
        """
        self.future: Future[tuple[DecodedPass, ...]] = Future()
        self._window = window
        self._timestamp_begin, self._max_tokens, self._seeks = timestamp_begin, max_tokens, seeks
        self._enqueue = enqueue
        self._passes: list[DecodedPass] = []
        self._ends_s = [
            window.duration_s
        ]  # of the pass under way, and behind it those of the passes that it is part of
        self._n_doubtful = 0  # passes in a row

    def first(self) -> Sequence | None:
        """The first pass; None for a window in which nobody speaks, whose future is answered."""
        if self._window.speech is not None and not self._window.speech:
            self.future.set_result(())
            return None
        return self._sequence(first_offset_s(self._window.speech) if self._seeks else 0.0, self._window.language)

    def _sequence(self, offset_s: float, language: str | None) -> Sequence:
        window, end_s = self._window, self._ends_s[-1]
        rest = replace(
            window,
            log_mel=between(torch.as_tensor(window.log_mel), offset_s, end_s if len(self._ends_s) > 1 else None),
            duration_s=end_s - offset_s,
            language=language,
        )
        return Sequence(rest, self.future, lambda decoded: self._collect(offset_s, decoded))

    def _collect(self, offset_s: float, decoded: DecodedWindow) -> None:
        window, end_s = self._window, self._ends_s[-1]
        is_doubtful = window.speech is not None and decoded.is_doubtful
        self._n_doubtful = self._n_doubtful + 1 if is_doubtful else 0
        resume_s = None
        if self._seeks and not decoded.is_silent and self._n_doubtful < _MAX_DOUBTFUL:
            limit = min(self._max_tokens, window.max_tokens or self._max_tokens)
            done = progress(
                decoded.tokens,
                self._timestamp_begin,
                offset_s,
                end_s,
                window.speech,
                is_cut_off=len(decoded.tokens) >= limit,
            )
            resume_s = done.resume_s
            if done.until_s is None:
                decoded = replace(decoded, tokens=done.tokens)
            elif len(self._passes) + 1 < MAX_PASSES:  # else the beginning of a text is better than none
                decoded = replace(decoded, tokens=done.tokens)
                self._ends_s.append(done.until_s)
        self._passes.append(DecodedPass(offset_s, decoded, end_s))
        while resume_s is None and len(self._ends_s) > 1:
            resume_s = next_offset_s(window.speech, self._ends_s.pop(), self._ends_s[-1])
        if resume_s is not None and len(self._passes) < MAX_PASSES:
            self._enqueue(self._sequence(resume_s, window.language if is_doubtful else decoded.language))
        elif self.future.set_running_or_notify_cancel():
            self.future.set_result(tuple(self._passes))


def between(log_mel: Tensor, offset_s: float, end_s: float | None = None) -> Tensor:
    """From `offset_s` to `end_s`, or the end, of a log-mel, [n_mels, 3000], padded with its own silence."""
    first, last = round(offset_s * FRAMES_PER_SECOND), N_FRAMES
    if end_s is not None:
        last = round(end_s * FRAMES_PER_SECOND)
    if (first, last) == (0, N_FRAMES):
        return log_mel
    padding = log_mel.amin().expand(log_mel.shape[0], N_FRAMES - (last - first))
    return torch.cat([log_mel[:, first:last], padding], dim=1)
