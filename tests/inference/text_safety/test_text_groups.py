"""Texts that name a group of people: what is said of one is scored as if it were said of another as well."""

from __future__ import annotations

import numpy as np

from aircheck.inference.text_safety.embedded import EmbeddedTextClassifier
from aircheck.inference.text_safety.groups import GROUPS, OTHER, of_others
from aircheck.policy.taxonomy import Category

HATE = list(Category).index(Category.HATE)


def test_every_name_is_put_in_anothers_place_and_nothing_else_is() -> None:
    for plural, singular in GROUPS.items():
        assert of_others(f"we met {plural} there") == f"we met {OTHER[0]} there"
        assert of_others(f"she is {singular}") == f"she is {OTHER[1]}"
    assert of_others("a womanly germanic menswear shop") == "a womanly germanic menswear shop"


def test_the_longest_name_counts() -> None:
    assert of_others("i met young people and a trans person") == f"i met {OTHER[0]} and {OTHER[1]}"


def test_no_group_scores_less_hate_than_the_one_in_its_place(embedded: EmbeddedTextClassifier) -> None:
    sentence = "{} should not be allowed to live among us"
    texts = [sentence.format(group) for group in GROUPS]
    scores = embedded.score([*texts, sentence.format(OTHER[0])])
    assert (scores[:-1, HATE] >= scores[-1, HATE]).all()


def test_a_score_does_not_depend_on_what_else_is_read(embedded: EmbeddedTextClassifier) -> None:
    texts = ["women should not be allowed to live among us", "the train leaves at nine", "i am a german"]
    together = embedded.score(texts)
    for text, scores in zip(texts, together, strict=True):
        assert np.array_equal(embedded.score([text])[0], scores)
