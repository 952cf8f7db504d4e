"""The sentences of a window's transcript; passage.py says how each is read.

Whisper often ends a segment in mid-sentence and puts several sentences into one. A sentence here ends where the
punctuation says so, whatever segments it lies in.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from aircheck.policy.own import Own
from aircheck_client.schema import Segment

MAX_WORDS = 24
"""A longer sentence is cut, so that no word goes unscored and none drowns among too many."""

MAX_PAUSE_S = 2.0
"""A longer pause between two segments ends a sentence that has no punctuation."""

_APOSTROPHES = str.maketrans({"’": "'", "‘": "'", "ʼ": "'"})
_NOT_SPOKEN = re.compile(r"[^\w'\u0900-\u0dff]+|_+")  # \w leaves out the vowel signs of Indian scripts
_STRAY_APOSTROPHE = re.compile(r"(?<!\w)'+|'+(?!\w)")
_WORD = re.compile(r"[^\s。！？]*[。！？]+|\S+")  # or a sentence, where words stand without spaces
_ENDS_SENTENCE = tuple(".!?…؟।。！？")
_CLOSING = "\"'”’»)]"  # what may stand behind them; within a segment, the sentence goes on around what it quotes


@dataclass(frozen=True)
class Sentence:
    """A sentence with single spaces, when it is spoken, and the segments that it lies in."""

    text: str
    start_s: float
    end_s: float
    segments: tuple[Segment, ...]


@dataclass(frozen=True)
class _Word:
    text: str
    start_s: float
    end_s: float
    segment: Segment


def normalise(text: str) -> str:
    """Lower-case words with single spaces and no punctuation but apostrophes inside words.

    Speech recognisers differ in case and punctuation; after this, a clean script and a transcript look alike.
    """
    spaced = _NOT_SPOKEN.sub(" ", text.translate(_APOSTROPHES).lower())
    return " ".join(_STRAY_APOSTROPHE.sub("", spaced).split())


def is_finished(sentence: str) -> bool:
    """Whether its punctuation says that it is over."""
    return sentence.rstrip(_CLOSING).endswith(_ENDS_SENTENCE)


def sentence_before(own: Own, segments: Sequence[Segment]) -> str:
    """The last sentence that was said before the segments of a window, finished or not; empty where there is none."""
    if not own.said or not segments or segments[0].start_s - own.said[-1].end_s > MAX_PAUSE_S:
        return ""
    words = "".join(word.text for word in own.said).split()
    first = max((place for place, word in enumerate(words[:-1], 1) if is_finished(word)), default=0)
    return " ".join(words[first:])


def sentences(segments: Sequence[Segment]) -> list[Sentence]:
    """A window's sentences in order: every word of its consecutive segments, once."""
    made: list[list[_Word]] = [[]]
    for segment in segments:
        if made[-1] and _is_apart(made[-1][-1].segment, segment):
            made.append([])
        for word in _words(segment):
            if len(made[-1]) == MAX_WORDS:
                made.append([])
            made[-1].append(word)
            if word.text.endswith(_ENDS_SENTENCE):
                made.append([])
        if made[-1] and is_finished(made[-1][-1].text):
            made.append([])
    return [_sentence(words) for words in made if words]


def _is_apart(before: Segment, after: Segment) -> bool:
    return after.start_s - before.end_s > MAX_PAUSE_S or after.language != before.language


def _words(segment: Segment) -> Iterator[_Word]:
    n_chars = len("".join(segment.text.split()))
    at = 0
    for match in _WORD.finditer(segment.text):
        end = at + len(match[0])
        yield _Word(match[0], *_spoken_s(segment, at, end, n_chars), segment)
        at = end


def _spoken_s(segment: Segment, start: int, end: int, n_chars: int) -> tuple[float, float]:
    """When the characters from `start` to `end` are spoken, white space not counted.

    By the segment's words where it has any; else as if all characters took the same time.
    """
    if segment.words:
        ends = list(accumulate(len("".join(word.text.split())) for word in segment.words))
        first = min(bisect_right(ends, start), len(ends) - 1)
        last = min(bisect_left(ends, end), len(ends) - 1)
        return segment.words[first].start_s, segment.words[last].end_s
    pace_s = (segment.end_s - segment.start_s) / n_chars
    return segment.start_s + start * pace_s, segment.start_s + end * pace_s


def _sentence(words: Sequence[_Word]) -> Sentence:
    return Sentence(
        text=" ".join(word.text for word in words),
        start_s=words[0].start_s,
        end_s=max(words[0].start_s, words[-1].end_s),
        segments=tuple({id(word.segment): word.segment for word in words}.values()),
    )
