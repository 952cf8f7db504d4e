"""Places a head's logits such that 0.5 is rare on ordinary talk, and 0.85 rarer still.

Policy packs act on scores: about 0.5 is worth a person's look, about 0.85 is where the classifier is confident. An hour
of talk is 120 windows of several sentences in ten categories, so a score that is wrong once in a thousand sentences
flags an hour several times. What a probability is "right" for depends on how much harm there is; ordinary talk holds
nearly none. So the offsets are set there, on talk that the head has not learned from; and where meetings never touch on
a subject, on harmless lines about it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import yaml

from aircheck.inference.text_safety.head import Encode, TextHead
from aircheck.inference.text_safety.passage import combined, readings
from aircheck.policy.taxonomy import Category
from training.text_safety.lines import DATA, read_test

WINDOW_S = 30.0
FLAGGED_PER_HOUR = 0.7
"""Windows of talk with any category at REVIEW. Below the bound of 1, for talk of other kinds is flagged more often."""

REVIEW, CONFIDENT = 0.5, 0.85
MARGIN, THREATS_MARGIN = 2.0, 1.5
"""How far the logit of CONFIDENT lies above all talk; in units of the head's own logits.

Less in threats, where a novel may reach CONFIDENT too: plain ones are to be blocked.
"""

FICTION_PER_HOUR, THREATS_IN_FICTION_PER_HOUR = 1.0, 2.0
"""Windows of a novel at REVIEW in a category that people in novels are guilty of; packs bear more in audiobooks.

At the rate of the others, "I will kill you" would stay below REVIEW in threats. Of the novel's windows that score
highest there, about half speak of killing somebody.
"""

HARD_NEGATIVES_FLAGGED = 0.04
"""Share of harmless lines at REVIEW in the category that they resemble."""

DOUBTFUL_TALK = 0.2
"""Share of the texts of ordinary talk that the second encoder reads too."""

BY_WORDS = (Category.PROFANITY,)
"""Categories that do not count for FLAGGED_PER_HOUR."""


@torch.inference_mode()
def window_logits(score: Encode, windows: Sequence[Sequence[str]]) -> np.ndarray:
    """The highest logit of each category in each window of sentences, as the server takes it.

    float32 [windows, categories]; -inf where nobody speaks.

    Args:
        score: texts to logits, [texts, categories].
    """
    texts = list(dict.fromkeys(text for window in windows for text in readings(window)))
    logits = dict(zip(texts, score(texts).numpy(), strict=True))
    highest = np.full((len(windows), len(Category)), -np.inf, dtype=np.float32)
    for row, window in enumerate(windows):
        if window:
            highest[row] = combined(window, logits).max(axis=0)
    return highest


def hours(n_windows: int) -> float:
    return n_windows * WINDOW_S / 3600


def review_logits(talk: np.ndarray) -> np.ndarray:
    """For each category the logit that stands for REVIEW, so that FLAGGED_PER_HOUR holds; float32 [categories].

    Every category may be reached by equally many windows, as many as the rate allows for all together.

    Args:
        talk: the highest logits of windows of ordinary talk, [windows, categories].
    """
    counted = [index for index, category in enumerate(Category) if category not in BY_WORDS]
    ranked = -np.sort(-talk, axis=0)
    allowed = FLAGGED_PER_HOUR * hours(len(talk))
    limits = ranked[0] + 1e-3  # reached by none
    for n_reached in range(1, len(talk)):
        between = (ranked[n_reached - 1] + ranked[n_reached]) / 2
        if (talk[:, counted] > between[counted]).any(axis=1).sum() > allowed:
            break
        limits = between
    return limits


def calibrate(head: TextHead, talk: np.ndarray, fiction: np.ndarray, hard: np.ndarray) -> None:
    """Sets the head's slopes and offsets by logits of what such heads had not learned from.

    Args:
        talk: the highest logits of windows of ordinary talk, [windows, categories].
        fiction: those of windows of a novel; what a category did learn from, and windows of no use to it, are -inf.
        hard: logits of harmless lines that resemble harm, each in the category that it resembles and NaN elsewhere.
    """
    review = review_logits(talk)
    place(head, review, np.maximum(talk.max(axis=0), review) + margins(), fiction, hard)


def margins() -> np.ndarray:
    """Of each category, float32 [categories]."""
    threats = [category is Category.VIOLENCE_THREAT for category in Category]
    return np.where(threats, THREATS_MARGIN, MARGIN).astype(np.float32)


def place(head: TextHead, review: np.ndarray, confident: np.ndarray, fiction: np.ndarray, hard: np.ndarray) -> None:
    """The same from the limits that talk sets, float32 [categories] each: fiction and hard negatives raise them."""
    ranked = -np.sort(-fiction, axis=0)
    review = review.copy()
    for column, category in enumerate(Category):
        rate = THREATS_IN_FICTION_PER_HOUR if category is Category.VIOLENCE_THREAT else FICTION_PER_HOUR
        rank = int(rate * hours(len(fiction)))
        review[column] = max(review[column], ranked[rank - 1 : rank + 1, column].mean())
    review = np.maximum(review, np.nanquantile(hard, 1 - HARD_NEGATIVES_FLAGGED, axis=0))
    told = np.where([category is Category.VIOLENCE_THREAT for category in Category], review, ranked[0])
    confident = np.maximum(confident, np.maximum(review, told) + margins() / 2)
    slope = math.log(CONFIDENT / (1 - CONFIDENT)) / (confident - review)
    head.slope.copy_(torch.from_numpy(slope))
    head.offset.copy_(torch.from_numpy(-slope * review))


@torch.inference_mode()
def doubt(score: Encode, windows: Sequence[Sequence[str]]) -> torch.Tensor:
    """Logits such that DOUBTFUL_TALK of the texts of windows of talk reach that of some category, [categories].

    Each is reached by equally many.
    """
    texts = list(dict.fromkeys(text for window in windows for text in readings(window)))
    logits = score(texts)
    ranks = logits.argsort(dim=0, descending=True).argsort(dim=0) / len(texts)
    share = ranks.amin(dim=1).quantile(DOUBTFUL_TALK)
    return logits.quantile(1 - float(share), dim=0)


def hard_negatives(score: Encode) -> np.ndarray:
    """Logits that a head not calibrated yet gives this project's held-out harmless lines, as the server takes them.

    NaN outside the category that each resembles.

    Those of hate are its hard negatives and harmless sentences about groups.
    """
    lines = [(line.text, Category(line.category)) for line in read_test() if line.kind == "hard_negative"]
    lines += [(text, Category.HATE) for text in harmless_about_groups()]
    logits = window_logits(score, [[text] for text, _ in lines])
    own = np.array([[category is resembled for category in Category] for _, resembled in lines])
    return np.where(own, logits, np.nan)


def harmless_about_groups() -> list[str]:
    content = yaml.safe_load((DATA / "test" / "identity.yaml").read_text(encoding="utf-8"))
    return [
        sentence.format(group=term)
        for sort in ("neutral", "positive", "negated")
        for sentence in content[sort]
        for terms in content["groups"].values()
        for term in terms
    ]
