"""What of a window is reported, where windows overlap, as those of live audio do.

The models hear each window with some of what lies around it, so that the words at its ends are whole and in context.
Yet each word, second of speech and sound is reported of one window. What is a window's own goes with its request, as a
parameter, which Triton hands to every step of the ensemble.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from aircheck.policy.errors import RequestError
from aircheck_client.schema import (
    AcousticFindings,
    EventSpan,
    Segment,
    SentenceScores,
    Span,
    TextFindings,
    Transcript,
    Word,
)

PARAMETER = "own"  # of the request: Own as JSON
LONG_S = 1.0  # a sound that is heard for so long in a window is reported of it, wherever the rest of it lies
SAME_S = 0.6  # two windows may place a word that both hear so far apart
MAX_SAID = 24  # last words that were reported: a sentence of them
DECIMALS = 4  # of times

_NOT_SPOKEN = re.compile(r"[^\w']")
_Timed = TypeVar("_Timed", EventSpan, Segment, SentenceScores, Span, Word)


class SaidWord(BaseModel):
    """A word that has been reported; it may lie before the audio."""

    model_config = ConfigDict(frozen=True)

    text: str
    start_s: float
    end_s: float

    def earlier(self, by_s: float) -> SaidWord:
        return SaidWord(text=self.text, start_s=self.start_s - by_s, end_s=self.end_s - by_s)


class Own(BaseModel):
    """The stretch of a window's audio that is its own, in seconds from the audio's start, and what precedes it.

    said : the last words that were reported before it
    """

    model_config = ConfigDict(frozen=True)

    start_s: float
    end_s: float
    said: tuple[SaidWord, ...] = ()

    @property
    def duration_s(self) -> float:
        return self.end_s - self.start_s

    def holds(self, item: Segment) -> bool:
        """Whether its middle lies in the stretch."""
        return self.start_s <= _middle_s(item) < self.end_s

    def after(self, said: Sequence[SaidWord], audio_s: float) -> Own:
        """The same after words that were reported, in a recording in which this audio begins at `audio_s`."""
        return self.model_copy(update={"said": tuple(word.earlier(audio_s) for word in said)})


def last_said(said: Sequence[SaidWord], segments: Sequence[Segment], start_s: float) -> tuple[SaidWord, ...]:
    """The last words that were reported, in the recording's time.

    Args:
        said: before.
        segments: of a window after that, whose own stretch begins at `start_s`.
    """
    words = (word for segment in segments for word in segment.words)
    new = (SaidWord(text=word.text, start_s=word.start_s, end_s=word.end_s).earlier(-start_s) for word in words)
    return (*said, *new)[-MAX_SAID:]


def own_of(parameters: str) -> Own | None:
    """What a request reports; None: all that it holds.

    Args:
        parameters: of the request, as Triton's Python backend gives them (JSON, or empty).

    Raises:
        RequestError: the parameter is no Own.
    """
    value = json.loads(parameters or "{}").get(PARAMETER)
    try:
        return None if value is None else Own.model_validate_json(value)
    except ValidationError as error:
        raise RequestError(f"parameter {PARAMETER}: {error.errors(include_url=False)[0]['msg']}") from None


def own_segments(segments: Sequence[Segment], own: Own, duration_s: float) -> tuple[Segment, ...]:
    """The segments without the words of other windows; times stay as they are.

    A window reports the words that begin before its end. It begins where the window before it ended: after the words
    which that one reported and this one hears again. A cut alone would not do, for no two windows agree on when a word
    is spoken.

    Args:
        duration_s: of the window's audio: where that is the end of `own`, nothing is left for a later window.
    """
    words = [word for segment in segments for word in segment.words]
    first = _first_new(words, own)
    last_s = own.end_s if own.end_s < duration_s else float("inf")
    kept, at = [], 0
    for segment in segments:
        mine = tuple(word for place, word in enumerate(segment.words, at) if place >= first and word.start_s < last_s)
        at += len(segment.words)
        if mine == segment.words:
            if mine or own.start_s <= _middle_s(segment) < last_s:
                kept.append(segment)
        elif mine:
            kept.append(_of_words(segment, mine))
    return tuple(kept)


def _of_words(segment: Segment, words: tuple[Word, ...]) -> Segment:
    start_s = max(segment.start_s, words[0].start_s)
    return segment.model_copy(
        update={
            "start_s": start_s,
            "end_s": max(start_s, min(segment.end_s, words[-1].end_s)),
            "text": "".join(word.text for word in words).strip(),
            "words": words,
        }
    )


def _first_new(words: Sequence[Word], own: Own) -> int:
    """The index of the first word that has not been said."""
    said = own.said
    pairs = [
        (_n_same(words[: heard + 1], said[: before + 1]), before, heard)
        for heard, word in enumerate(words)
        for before, other in enumerate(said)
        if _is_same(word, other)
    ]
    first, unmatched = 0, said
    if pairs:
        _, before, heard = max(pairs)
        first, unmatched = heard + 1, said[before + 1 :]
    # what is not heard again: the words may differ, the time has been reported
    until_s = unmatched[-1].end_s if unmatched else (own.start_s if not said else 0.0)
    while first < len(words) and _middle_s(words[first]) < until_s:
        first += 1
    return first


def _n_same(words: Sequence[Word], said: Sequence[SaidWord]) -> int:
    """How many words at the ends of both are the same."""
    count = 0
    for word, other in zip(reversed(words), reversed(said), strict=False):
        if not _is_same(word, other):
            break
        count += 1
    return count


def _is_same(word: Word, other: SaidWord) -> bool:
    return abs(_middle_s(word) - _middle_s(other)) < SAME_S and _plain(word.text) == _plain(other.text)


def _middle_s(item: Segment | Word | SaidWord) -> float:
    return (item.start_s + item.end_s) / 2


def _plain(text: str) -> str:
    return _NOT_SPOKEN.sub("", text.lower())


def own_findings(
    transcript: Transcript, text: TextFindings, acoustic: AcousticFindings, own: Own
) -> tuple[Transcript, TextFindings, AcousticFindings]:
    """What was found in a window's own stretch, with times from its start on.

    A sound belongs to the window that most of it lies in, so that two windows that hear it do not both report it; one
    that goes on for longer belongs to each.

    Args:
        transcript: with `own_segments` only, as `text` is.
    """
    return (
        transcript.model_copy(
            update={
                "speech": tuple(_moved(span, own) for span in transcript.speech if _inside_s(span, own) > 0),
                "segments": tuple(_segment(segment, own) for segment in transcript.segments),
            }
        ),
        text.model_copy(update={"sentences": tuple(_sentence(sentence, own) for sentence in text.sentences)}),
        acoustic.model_copy(
            update={"spans": tuple(_moved(span, own) for span in acoustic.spans if _is_own_sound(span, own))}
        ),
    )


def own_findings_json(transcript: bytes, text: bytes, acoustic: bytes, own: Own) -> tuple[bytes, bytes, bytes]:
    """`own_findings`, of JSON and to JSON. Raises RequestError where it is none of such findings."""
    try:
        said, read, heard = own_findings(
            Transcript.model_validate_json(transcript),
            TextFindings.model_validate_json(text),
            AcousticFindings.model_validate_json(acoustic),
            own,
        )
    except ValidationError as error:
        raise RequestError(f"findings: {error.errors(include_url=False, include_input=False)[0]['msg']}") from None
    return said.model_dump_json().encode(), read.model_dump_json().encode(), heard.model_dump_json().encode()


def _is_own_sound(span: EventSpan, own: Own) -> bool:
    return _inside_s(span, own) >= min(LONG_S, (span.end_s - span.start_s) / 2)


def _inside_s(span: Span | EventSpan, own: Own) -> float:
    return min(span.end_s, own.end_s) - max(span.start_s, own.start_s)


def _sentence(sentence: SentenceScores, own: Own) -> SentenceScores:
    segments = tuple(_segment(segment, own) for segment in sentence.segments)
    return _moved(sentence, own).model_copy(update={"segments": segments})


def _segment(segment: Segment, own: Own) -> Segment:
    return _moved(segment, own).model_copy(update={"words": tuple(_moved(word, own) for word in segment.words)})


def _moved(item: _Timed, own: Own) -> _Timed:
    """The same from the start of `own` on, and within it."""
    start_s, end_s = (
        round(min(max(time_s, own.start_s), own.end_s) - own.start_s, DECIMALS) for time_s in (item.start_s, item.end_s)
    )
    return item.model_copy(update={"start_s": start_s, "end_s": end_s})
