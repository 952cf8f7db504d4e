"""From a window's tokens to transcript segments, by openai-whisper's rules (whisper/transcribe.py)."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from whisper.audio import HOP_LENGTH, SAMPLE_RATE
from whisper.tokenizer import Tokenizer
from whisper.utils import compression_ratio

from aircheck.inference.whisper.decoding.options import DecodedWindow
from aircheck_client.schema import Segment, Word

TIME_PRECISION_S = 2 * HOP_LENGTH / SAMPLE_RATE  # 0.02 s a timestamp token: the encoder halves the mel's frame rate


@dataclass(frozen=True)
class WindowTranscript:
    """The transcript of one window.

    text : of all segments, in order
    segments : times in seconds from the window's start, within its duration
    language : ISO 639-1 code, given or detected
    """

    text: str
    segments: tuple[Segment, ...]
    language: str


@dataclass(frozen=True)
class _Span:
    start_s: float
    end_s: float
    tokens: Sequence[int]


def transcript(window: DecodedWindow, tokenizer: Tokenizer, duration_s: float) -> WindowTranscript:
    """The segments and text of a decoded window of `duration_s` seconds; empty if it is silent.

    Every segment carries the confidence of its window: that is what openai-whisper measures.
    """
    if window.is_silent:
        return WindowTranscript("", (), window.language)
    spans = split(window.tokens, tokenizer.timestamp_begin, duration_s)
    texts = [tokenizer.decode([t for t in span.tokens if t < tokenizer.eot]) for span in spans]
    text = "".join(texts).strip()
    ratio = compression_ratio(text)
    words = _words(window, [sum(t < tokenizer.eot for t in span.tokens) for span in spans])
    segments = tuple(
        Segment(
            start_s=min(span.start_s, duration_s),
            end_s=min(span.end_s, duration_s),
            text=segment_text.strip(),
            avg_logprob=window.avg_logprob,
            no_speech_prob=window.no_speech_prob,
            compression_ratio=ratio,
            temperature=window.temperature,
            words=segment_words,
        )
        for span, segment_text, segment_words in zip(spans, texts, words, strict=True)
        if segment_text.strip()
    )
    return WindowTranscript(text, segments, window.language)


def _words(window: DecodedWindow, n_tokens: Sequence[int]) -> list[tuple[Word, ...]]:
    """The words of each segment, given how many text tokens it has; as whisper/timing.py deals them out."""
    left = deque(window.words)
    dealt = []
    for n_wanted in n_tokens:
        own: list[Word] = []
        while left and n_wanted > 0:
            word = left.popleft()
            n_wanted -= word.n_tokens
            own.append(Word(text=word.text, start_s=word.start_s, end_s=word.end_s, probability=word.probability))
        dealt.append(tuple(own))
    return dealt


def split(tokens: Sequence[int], timestamp_begin: int, duration_s: float) -> list[_Span]:
    """Cut tokens between consecutive timestamps.

    Text after the last pair that has no closing timestamp runs to the window's end. `whisper.transcribe` leaves it out
    there and decodes again from its start; here windows are decoded once, and text must not get lost.
    """
    is_timestamp = [token >= timestamp_begin for token in tokens]
    cuts = [i + 1 for i, (this, following) in enumerate(pairwise(is_timestamp)) if this and following]
    if not cuts:
        # one segment from the window's start to the only timestamp other than 0.00, or to the window's end
        stamps = [token - timestamp_begin for token in tokens if token >= timestamp_begin]
        end_s = stamps[-1] * TIME_PRECISION_S if stamps and stamps[-1] > 0 else duration_s
        return [_Span(0.0, end_s, tokens)]
    spans = []
    for first, last in pairwise([0, *cuts, len(tokens)]):
        piece = tokens[first:last]
        start_s = (piece[0] - timestamp_begin) * TIME_PRECISION_S
        is_closed = len(piece) > 1 and piece[-1] >= timestamp_begin
        end_s = (piece[-1] - timestamp_begin) * TIME_PRECISION_S if is_closed else max(start_s, duration_s)
        spans.append(_Span(start_s, end_s, piece))
    return spans
