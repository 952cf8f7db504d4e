"""Who decides about profanity in a window: the list of its language, with the classifier only where it may."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from aircheck.inference.text_safety.profanity import Profanity
from aircheck.inference.text_safety.service import classify
from aircheck.policy.taxonomy import Category
from aircheck.settings import ROOT
from aircheck_client.schema import Segment, SentenceScores


@dataclass(frozen=True)
class Fixed:
    """A classifier that scores everything alike."""

    profanity: float
    scores_profanity: bool
    name: str = "fixed"
    version: str = "1"
    languages: tuple[str, ...] = ()
    categories: tuple[Category, ...] = tuple(Category)

    def score(self, texts: Sequence[str]) -> np.ndarray:
        scores = np.full((len(texts), len(Category)), 0.1, np.float32)
        scores[:, list(Category).index(Category.PROFANITY)] = self.profanity
        return scores


@pytest.fixture(scope="module")
def lists() -> Profanity:
    return Profanity(ROOT / "server_config" / "profanity")


def sentence(lists: Profanity | None, text: str, classifier: Fixed, language: str = "en") -> SentenceScores:
    segment = Segment(
        start_s=0.0,
        end_s=2.0,
        text=text,
        language=language,
        avg_logprob=-0.3,
        no_speech_prob=0.1,
        compression_ratio=1.2,
    )
    (findings,) = classify(classifier, [[segment]], lists)
    (item,) = findings.sentences
    assert findings.word_lists == (lists.model if lists else None)
    return item


WORDS = [("what the fuck", 0.9), ("bullshit", 0.6), ("damn", 0.3), ("goodbye", 0.0)]


@pytest.mark.parametrize(("text", "score"), WORDS)
def test_the_severity_of_the_word_is_the_score(lists: Profanity, text: str, score: float) -> None:
    item = sentence(lists, text, Fixed(profanity=0.7, scores_profanity=False))
    assert item.scores["profanity"] == score
    assert item.scores["hate"] == pytest.approx(0.1)


def test_the_word_is_named_masked_with_the_list_that_has_it(lists: Profanity) -> None:
    given = sentence(lists, "what the fuck", Fixed(0.0, scores_profanity=False)).attributions["profanity"]
    assert (given.model, given.model_version) == ("swear-words", lists.model.version)
    assert given.note == "swear word f*** (strong)"


def test_a_classifier_that_scores_profanity_can_only_raise_the_score(lists: Profanity) -> None:
    higher = sentence(lists, "bullshit", Fixed(0.8, scores_profanity=True))
    assert higher.scores["profanity"] == pytest.approx(0.8)
    assert not higher.attributions  # the score is the classifier's
    lower = sentence(lists, "bullshit", Fixed(0.2, scores_profanity=True))
    assert lower.scores["profanity"] == pytest.approx(0.6)
    assert lower.attributions


@pytest.mark.parametrize("language", ["sv", ""])
def test_without_a_list_for_the_language_the_classifier_decides(lists: Profanity, language: str) -> None:
    item = sentence(lists, "what the fuck", Fixed(0.7, scores_profanity=False), language)
    assert item.scores["profanity"] == pytest.approx(0.7)
    assert not item.attributions


def test_without_lists_the_classifier_decides() -> None:
    assert sentence(None, "what the fuck", Fixed(0.7, scores_profanity=False)).scores["profanity"] == pytest.approx(0.7)
