"""What a text classifier judges: a segment of transcript together with its neighbours."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

MAX_SEGMENT_WORDS = 128
"""Words of a segment that are read; about 40 s of fast speech, more than a 30 s window can hold."""

MAX_NEIGHBOUR_WORDS = 40
"""Words of each neighbour that are read, those nearest to the segment: about what one Whisper segment holds."""

_APOSTROPHES = str.maketrans({"’": "'", "‘": "'", "ʼ": "'"})
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
