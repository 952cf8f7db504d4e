"""Which texts are classified for a passage, and what its sentences score by them.

A sentence is read alone, amid its neighbours, and in parts: its clauses, and overlapping windows of words where a
clause runs on without punctuation. So neither a harmless neighbour nor a harmless half hides what is harmful.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from aircheck.inference.text_safety.sentences import is_finished

MIN_CLAUSE_WORDS = 3
"""A shorter clause ("well, you know,") is read with the one before or after it."""

MAX_CLAUSE_WORDS = 16
WINDOW_WORDS, STRIDE_WORDS = 10, 5
"""A clause of more words than MAX_CLAUSE_WORDS is read in windows as well."""

CLAUSE_WEIGHT, WINDOW_WEIGHT = 0.5, 0.75
"""How far a clause, or a window, raises its sentence's logit towards its own.

Not all the way, since the rest of the sentence may take back what the part says: reported, quoted, denied.
"""

_CLAUSE_END = re.compile(r"(?<=[,;:])\s+|(?<=[，；：、،؛])\s*|\s+[-–—]+\s+")
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+")  # or a character, without spaces


def readings(sentences: Sequence[str]) -> list[str]:
    """Every text that is classified for a window's consecutive sentences, once."""
    of_parts = [part for sentence in sentences for part in parts(sentence)]
    return list(dict.fromkeys([*sentences, *in_context(sentences), *of_parts]))


def combined(sentences: Sequence[str], logits: Mapping[str, np.ndarray]) -> np.ndarray:
    """Logits of a window's consecutive sentences, [sentences, categories].

    Neighbours raise only the sentence that is the most harmful of them by itself: a harmless one beside an insult stays
    harmless.

    Args:
        sentences: at least one.
        logits: of each of their `readings`, [categories].
    """
    alone = np.stack([_in_itself(sentence, logits) for sentence in sentences])
    return with_context(alone, np.stack([logits[text] for text in in_context(sentences)]))


def combined_after(before: str, sentences: Sequence[str], logits: Mapping[str, np.ndarray]) -> np.ndarray:
    """As `combined`, of sentences that follow on `before`, which has been scored already.

    Where `before` breaks off, as the first sentence is the rest of it, both count as one for that: unless `before` is
    harmful by itself, and so has been found.

    Args:
        logits: of the `readings` of `before` and the sentences.
    """
    found = combined([before, *sentences], logits)[1:]
    if not is_finished(before):
        whole = np.maximum(found[0], logits[in_context([before, *sentences])[0]])
        found[0] = np.where(logits[before] < 0, whole, found[0])
    return found


def in_context(sentences: Sequence[str]) -> list[str]:
    """Each of a window's consecutive sentences with the one before and the one after, as one text."""
    return [" ".join(sentences[max(index - 1, 0) : index + 2]) for index in range(len(sentences))]


def with_context(alone: np.ndarray, amid: np.ndarray) -> np.ndarray:
    """Logits of consecutive sentences from those alone and amid neighbours; all [sentences, categories]."""
    nothing = np.full_like(alone[:1], -np.inf)
    beside = np.maximum(np.concatenate([nothing, alone[:-1]]), np.concatenate([alone[1:], nothing]))
    return np.where(alone >= beside, np.maximum(alone, amid), alone)


def parts(sentence: str) -> dict[str, float]:
    """The clauses of a sentence that has several, and the windows of those that are long; each with its weight."""
    found = clauses(sentence)
    windows = [window for clause in found for window in _windows(clause)]
    return dict.fromkeys(windows, WINDOW_WEIGHT) | dict.fromkeys(found if len(found) > 1 else [], CLAUSE_WEIGHT)


def clauses(sentence: str) -> list[str]:
    """What stands between the commas, semicolons, colons and dashes of a sentence, every word once."""
    made: list[str] = []
    for clause in filter(None, _CLAUSE_END.split(sentence)):
        if made and min(_n_words(made[-1]), _n_words(clause)) < MIN_CLAUSE_WORDS:
            made[-1] += f" {clause}"
        else:
            made.append(clause)
    return made


def _in_itself(sentence: str, logits: Mapping[str, np.ndarray]) -> np.ndarray:
    whole = logits[sentence]
    raised = [whole + weight * (logits[part] - whole) for part, weight in parts(sentence).items()]
    return np.max([whole, *raised], axis=0)


def _windows(clause: str) -> list[str]:
    words = clause.split()
    if len(words) <= MAX_CLAUSE_WORDS:
        return []
    starts = [*range(0, len(words) - WINDOW_WORDS, STRIDE_WORDS), len(words) - WINDOW_WORDS]
    return [" ".join(words[start : start + WINDOW_WORDS]) for start in starts]


def _n_words(text: str) -> int:
    return len(_WORD.findall(text))
