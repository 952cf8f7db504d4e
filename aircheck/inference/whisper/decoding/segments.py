"""From a window's tokens to transcript segments, by openai-whisper's rules (whisper/transcribe.py)."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from whisper.tokenizer import Tokenizer
from whisper.utils import compression_ratio

from aircheck.inference.whisper.decoding.options import DecodedPass
from aircheck.inference.whisper.decoding.seek import TIME_PRECISION_S, Speech
from aircheck_client.schema import Segment, Word

DECIMALS = 4
"""Of times and scores: what is left of them does not tell apart."""

_TOLERANCE_S = 0.5  # that Whisper's timestamps may miss speech by
_SPEECH_HANG_S = 0.2  # speech activity's spans end this much after the last word: padding, and the network hangs on


@dataclass(frozen=True)
class WindowTranscript:
    """The transcript of one window.

    segments : times in seconds from the window's start, within its duration
    language : ISO 639-1 code, given or detected; empty where there are no words
    detected_language, detected_probability : the likeliest one, whichever was asked for; empty where nobody speaks
    speech : start and end, in seconds, of each stretch in which somebody speaks; None where that is not known
    dropped : segments left out, since nobody speaks where they lie or their text is not to be believed
    """

    segments: tuple[Segment, ...] = ()
    language: str = ""
    detected_language: str = ""
    detected_probability: float = 0.0
    speech: Speech | None = None
    dropped: tuple[Segment, ...] = ()

    @property
    def text(self) -> str:
        """Of all segments, in order."""
        return " ".join(segment.text for segment in self.segments)

    @property
    def n_dropped(self) -> int:
        return len(self.dropped)


@dataclass(frozen=True)
class _Span:
    start_s: float
    end_s: float
    tokens: Sequence[int]


def transcript(
    passes: Sequence[DecodedPass], tokenizer: Tokenizer, duration_s: float, speech: Speech | None = None
) -> WindowTranscript:
    """The segments of a window of `duration_s` seconds from the passes over it.

    Whisper writes words into noise and music. So, where it is known where somebody speaks, text of which no part lies
    in or beside speech is left out, and so is text that is not to be believed.
    """
    if not passes:
        return WindowTranscript(speech=speech)
    made = [(one, _segments(one, tokenizer, duration_s, speech)) for one in passes]
    every = [segment for _, segments in made for segment in segments]
    if speech is not None:
        made = [
            (one, [segment for segment in segments if _is_beside(segment, speech)])
            for one, segments in made
            if not one.decoded.is_doubtful
        ]
    kept = tuple(segment for _, segments in made for segment in segments)
    first = next((one for one, segments in made if segments), passes[0]).decoded
    return WindowTranscript(
        segments=kept,
        language=first.language if kept else "",
        detected_language=first.detected_language,
        detected_probability=round(first.detected_probability, DECIMALS),
        speech=speech,
        dropped=tuple(segment for segment in every if segment not in kept),
    )


def _segments(one: DecodedPass, tokenizer: Tokenizer, duration_s: float, speech: Speech | None) -> list[Segment]:
    """Every segment carries the confidence of its pass: that is what openai-whisper measures."""
    window, offset_s = one.decoded, one.offset_s
    if window.is_silent:
        return []
    end_s = duration_s if one.end_s is None else one.end_s
    last_s = min(end_s, speech[-1][1]) if speech else end_s
    spans = split(window.tokens, tokenizer.timestamp_begin, last_s - offset_s)
    texts = [tokenizer.decode([t for t in span.tokens if t < tokenizer.eot]) for span in spans]
    ratio = compression_ratio("".join(texts).strip())
    words = _words(one, [sum(t < tokenizer.eot for t in span.tokens) for span in spans])
    times_s = [(min(offset_s + span.start_s, end_s), min(offset_s + span.end_s, end_s)) for span in spans]
    if speech:
        times_s = [_within_speech(start_s, stop_s, speech) for start_s, stop_s in times_s]
    return [
        Segment(
            start_s=round(start_s, DECIMALS),
            end_s=round(stop_s, DECIMALS),
            text=text.strip(),
            language=window.language,
            avg_logprob=round(window.avg_logprob, DECIMALS),
            no_speech_prob=round(window.no_speech_prob, DECIMALS),
            compression_ratio=round(ratio, DECIMALS),
            temperature=window.temperature,
            words=segment_words,
        )
        for (start_s, stop_s), text, segment_words in zip(times_s, texts, words, strict=True)
        if text.strip()
    ]


def _within_speech(start_s: float, end_s: float, speech: Speech) -> tuple[float, float]:
    """A segment's times without the pauses at its ends, which Whisper's timestamps include or not as it comes."""
    own = [(first_s, last_s) for first_s, last_s in speech if first_s < end_s and last_s > start_s]
    if not own:
        return start_s, end_s
    start_s = max(start_s, own[0][0])
    return start_s, max(start_s, min(end_s, own[-1][1] - _SPEECH_HANG_S))


def _is_beside(segment: Segment, speech: Speech) -> bool:
    return any(
        segment.start_s < end_s + _TOLERANCE_S and segment.end_s > start_s - _TOLERANCE_S for start_s, end_s in speech
    )


def _words(one: DecodedPass, n_tokens: Sequence[int]) -> list[tuple[Word, ...]]:
    """The words of each segment, given how many text tokens it has; as whisper/timing.py deals them out."""
    left = deque(one.decoded.words)
    dealt = []
    for n_wanted in n_tokens:
        own: list[Word] = []
        while left and n_wanted > 0:
            word = left.popleft()
            n_wanted -= word.n_tokens
            own.append(
                Word(
                    text=word.text,
                    start_s=round(one.offset_s + word.start_s, DECIMALS),
                    end_s=round(one.offset_s + word.end_s, DECIMALS),
                    probability=round(word.probability, DECIMALS),
                )
            )
        dealt.append(tuple(own))
    return dealt


def split(tokens: Sequence[int], timestamp_begin: int, duration_s: float) -> list[_Span]:
    """Cut tokens between consecutive timestamps.

    Text after the last pair that has no closing timestamp runs to the end, `duration_s`. `whisper.transcribe` leaves it
    out there and decodes again from its start; so does `seek.py` where that promises more.
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
