"""Texts that name a group of people: what is said of one is scored as if it were said of another as well."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from aircheck.inference.text_safety.embedded import EmbeddedTextClassifier
from aircheck.inference.text_safety.errors import CheckpointError
from aircheck.inference.text_safety.groups import Groups, read
from aircheck.inference.text_safety.sentences import normalise
from aircheck.policy.taxonomy import Category

HATE = list(Category).index(Category.HATE)
NAMES = read()
GROUPS = Groups(NAMES)
ENGLISH = NAMES["en"]
SHARED = {
    name: {one.others for one in NAMES.values() if name in one.plural}
    for language in NAMES.values()
    for name in language.plural
}
"""Of each plural, the stand-ins of the languages that have it."""


@pytest.mark.parametrize("language", NAMES)
def test_every_name_is_as_the_classifier_reads_it_and_another_takes_its_place(language: str) -> None:
    names = NAMES[language]
    for name in (*names.plural, *names.singular, *names.articles, names.others, names.other):
        assert name == normalise(name)
    space = " " if names.is_spaced else ""
    for plural in names.plural:
        assert GROUPS.of_others(f"x{space}{plural}{space}x") in {f"x{space}{one}{space}x" for one in SHARED[plural]}
    others = {one.other for one in NAMES.values()}
    for article, singular in product(names.articles or [""], names.singular):
        assert GROUPS.of_others(f"x {article} {singular} x".replace("  ", " ")) in {f"x {one} x" for one in others}


def test_nothing_else_is_replaced() -> None:
    for text in (
        "a womanly germanic menswear shop",
        "das wetter ist schön",
        "le train part à neuf heures",
        "今天天气很好",
    ):
        assert GROUPS.of_others(text) == text


def test_the_longest_name_counts() -> None:
    expected = f"i met {ENGLISH.others} and {ENGLISH.other}"
    assert GROUPS.of_others("i met young people and a trans person") == expected


def test_a_file_with_a_fault_is_named(tmp_path) -> None:
    path = tmp_path / "groups.yaml"
    path.write_text("en: {others: foreigners, plurals: [women]}")
    with pytest.raises(CheckpointError, match=r"groups\.yaml.*en\.plural"):
        read(path)


@pytest.mark.parametrize(
    ("language", "sentence"),
    [("en", "{} should not be allowed to live among us"), ("de", "{} sollten nicht unter uns leben dürfen")],
)
def test_no_group_scores_less_hate_than_the_one_in_its_place(
    embedded: EmbeddedTextClassifier, language: str, sentence: str
) -> None:
    names = NAMES[language]
    scores = embedded.score([sentence.format(group) for group in (*names.plural, names.others)])
    assert (scores[:-1, HATE] >= scores[-1, HATE]).all()


def test_a_score_does_not_depend_on_what_else_is_read(embedded: EmbeddedTextClassifier) -> None:
    texts = ["women should not be allowed to live among us", "the train leaves at nine", "i am a german"]
    together = embedded.score(texts)
    for text, scores in zip(texts, together, strict=True):
        assert np.array_equal(embedded.score([text])[0], scores)
