"""What a text classifier scores: a segment of transcript together with its neighbours."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

MAX_SEGMENT_WORDS = 128
"""Words of a segment that are read at once; the encoder takes 256 tokens and no more."""

MAX_NEIGHBOUR_WORDS = 40
"""Words of each neighbour that are read, those nearest to the segment: about what one Whisper segment holds."""

_APOSTROPHES = str.maketrans({"’": "'", "‘": "'", "ʼ": "'"})
_SENTENCE_END = re.compile(r"(?<=[.!?…])\s+|(?<=[。！？])")
_NOT_SPOKEN = re.compile(r"[^\w']+|_+")
_STRAY_APOSTROPHE = re.compile(r"(?<!\w)'+|'+(?!\w)")


@dataclass(frozen=True)
class Passage:
    """A segment's `text`, and its `context`: the previous segment, the segment itself and the next, as one string."""

    text: str
    context: str


def normalise(text: str) -> str:
    """Lower-case words with single spaces and no punctuation but apostrophes inside words.

    Speech recognisers differ in case and punctuation; after this, a clean script and a transcript look alike.
    """
    spaced = _NOT_SPOKEN.sub(" ", text.translate(_APOSTROPHES).lower())
    return " ".join(_STRAY_APOSTROPHE.sub("", spaced).split())


def passages(texts: Sequence[str]) -> list[Passage]:
    """One passage for each of a window's consecutive segment texts, in order; raw text, neighbours cut to size."""
    made = []
    for index, text in enumerate(texts):
        before = texts[index - 1].split()[-MAX_NEIGHBOUR_WORDS:] if index else []
        after = texts[index + 1].split()[:MAX_NEIGHBOUR_WORDS] if index + 1 < len(texts) else []
        own = text.split()[:MAX_SEGMENT_WORDS]
        made.append(Passage(text=" ".join(own), context=" ".join([*before, *own, *after])))
    return made


def sentences(text: str) -> list[str]:
    """A text's sentences, each of at most MAX_SEGMENT_WORDS words with single spaces; none for a blank text."""
    words = [sentence.split() for sentence in _SENTENCE_END.split(text)]
    return [
        " ".join(sentence[first : first + MAX_SEGMENT_WORDS])
        for sentence in words
        for first in range(0, len(sentence), MAX_SEGMENT_WORDS)
    ]


def sentence_passages(texts: Sequence[str]) -> list[list[Passage]]:
    """For each of a window's segment texts, what its score is the highest of: every sentence alone and amid the others.

    Neighbours can make a harmless sentence harmful, as a threat does to its answer; they must not make a harmful one
    harmless.
    """
    of_segments = [sentences(text) or [""] for text in texts]
    amid = iter(passages([sentence for of_segment in of_segments for sentence in of_segment]))
    return [_alone_too([next(amid) for _ in of_segment]) for of_segment in of_segments]


def _alone_too(amid: Sequence[Passage]) -> list[Passage]:
    return [passage for item in amid for passage in (Passage(item.text, item.text), item)]
