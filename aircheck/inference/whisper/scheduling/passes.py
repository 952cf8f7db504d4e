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
from aircheck.inference.whisper.decoding.seek import MAX_PASSES, first_offset_s, progress
from aircheck.inference.whisper.scheduling.sequence import Sequence, Window


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

    def first(self) -> Sequence | None:
        """The first pass; None for a window in which nobody speaks, whose future is answered."""
        if self._window.speech is not None and not self._window.speech:
            self.future.set_result(())
            return None
        return self._sequence(first_offset_s(self._window.speech) if self._seeks else 0.0, self._window.language)

    def _sequence(self, offset_s: float, language: str | None) -> Sequence:
        window = self._window
        rest = replace(
            window,
            log_mel=from_offset(torch.as_tensor(window.log_mel), offset_s),
            duration_s=window.duration_s - offset_s,
            language=language,
        )
        return Sequence(rest, self.future, lambda decoded: self._collect(offset_s, decoded))

    def _collect(self, offset_s: float, decoded: DecodedWindow) -> None:
        resume_s = None
        if self._seeks and not decoded.is_silent:
            limit = min(self._max_tokens, self._window.max_tokens or self._max_tokens)
            done = progress(
                decoded.tokens,
                self._timestamp_begin,
                offset_s,
                self._window.duration_s,
                self._window.speech,
                is_cut_off=len(decoded.tokens) >= limit,
            )
            decoded, resume_s = replace(decoded, tokens=done.tokens), done.resume_s
        self._passes.append(DecodedPass(offset_s, decoded))
        if resume_s is not None and len(self._passes) < MAX_PASSES:
            self._enqueue(self._sequence(resume_s, decoded.language))
        elif self.future.set_running_or_notify_cancel():
            self.future.set_result(tuple(self._passes))


def from_offset(log_mel: Tensor, offset_s: float) -> Tensor:
    """What follows `offset_s` in a log-mel, [n_mels, 3000], padded with its own silence."""
    n_frames = round(offset_s * FRAMES_PER_SECOND)
    if n_frames == 0:
        return log_mel
    silence = log_mel.amin()
    padding = silence.expand(log_mel.shape[0], n_frames)
    return torch.cat([log_mel[:, n_frames:N_FRAMES], padding], dim=1)
