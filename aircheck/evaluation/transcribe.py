"""Recordings through this project's front end and Whisper engine, in this process, as the server would."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from aircheck.inference.whisper.decoding.options import DecodedPass
from aircheck.inference.whisper.engine import WhisperEngine, Window
from preprocessing.clip import Clip, ClipDecoder
from preprocessing.container import Limits
from preprocessing.errors import AudioError
from preprocessing.windows import Episode

LIMITS = Limits(max_bytes=2**31 - 2**20, max_duration_s=12 * 3600.0, max_channels=8, max_sample_rate_hz=192_000)
_WINDOW_S = 30.0
_LOOKAHEAD = 64  # windows that are submitted before the first is waited for


@dataclass(frozen=True)
class Segment:
    """A stretch of text, in seconds from the start of its recording."""

    start_s: float
    end_s: float
    text: str


@dataclass(frozen=True)
class Transcription:
    """What an engine made of a recording. `language` is what it detected first."""

    path: str
    language: str
    segments: tuple[Segment, ...]

    @property
    def text(self) -> str:
        return " ".join(segment.text.strip() for segment in self.segments)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, fields: dict[str, Any]) -> Transcription:
        return cls(fields["path"], fields["language"], tuple(Segment(**one) for one in fields["segments"]))


@dataclass(frozen=True)
class _Submitted:
    """A window on its way through the engine. `start_s`: in its recording."""

    start_s: float
    window: Window
    passes: Future[tuple[DecodedPass, ...]]


def transcribe(
    engine: WhisperEngine, paths: Iterable[str], faults: dict[str, Exception] | None = None
) -> Iterator[Transcription]:
    """Each recording's transcription, in order: decoded, cut into windows, log-mel by DALI, in-flight batching.

    Args:
        faults: takes what is wrong with recordings that cannot be read, by path; without it, the first one raises.

    Raises:
        AudioError, OSError: of the first recording that cannot be read.
    """
    decoder = ClipDecoder(engine.n_mels, LIMITS, max_batch_size=1, threads=1)
    pending: deque[tuple[str, list[_Submitted]]] = deque()
    for path in paths:
        try:
            pending.append((path, [_submit(engine, *window) for window in clips(decoder, path)]))
        except (AudioError, OSError) as error:
            if faults is None:
                raise
            faults[path] = error
        while sum(len(windows) for _, windows in pending) > _LOOKAHEAD:
            yield _transcription(engine, *pending.popleft())
    for recording in pending:
        yield _transcription(engine, *recording)


def clips(decoder: ClipDecoder, path: str) -> Iterator[tuple[float, Clip]]:
    """A recording's windows, one after the other, each with its start in seconds. Raises AudioError, OSError."""
    for window in Episode(Path(path).read_bytes(), LIMITS).windows(_WINDOW_S):
        (clip,) = decoder.decode([np.frombuffer(window.wav(), np.uint8)])
        if not isinstance(clip, Clip):
            raise clip
        yield window.start_s, clip


def _submit(engine: WhisperEngine, start_s: float, clip: Clip) -> _Submitted:
    speech = tuple((span.start_s, span.end_s) for span in clip.speech)
    window = Window(torch.from_numpy(clip.log_mel), clip.duration_s, speech)
    return _Submitted(start_s, window, engine.submit(window))


def _transcription(engine: WhisperEngine, path: str, windows: Iterable[_Submitted]) -> Transcription:
    segments: list[Segment] = []
    language = ""
    for one in windows:
        found = engine.transcript(one.passes.result(), one.window)
        language = language or (found.language if found.segments else "")
        segments += [Segment(one.start_s + s.start_s, one.start_s + s.end_s, s.text) for s in found.segments]
    return Transcription(path, language, tuple(segments))
