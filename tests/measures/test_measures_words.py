"""Word errors as they are counted by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aircheck.measures.words import word_errors

texts = st.lists(st.sampled_from("a b c d".split()), max_size=9)


@pytest.mark.parametrize(
    ("reference", "heard", "errors"),
    [
        ("the cat sat", "the cat sat", 0),
        ("the cat sat", "the cat", 1),
        ("the cat sat", "a the cat sat", 1),
        ("the cat sat", "the dog sat", 1),
        ("the cat sat on the mat", "cat sat at the mat", 2),
        ("", "three new words", 3),
        ("three old words", "", 3),
    ],
)
def test_substitutions_insertions_and_deletions_count_one_each(reference, heard, errors):
    assert word_errors(reference.split(), heard.split()) == errors


def slow(a, b):
    """Levenshtein's distance by its definition."""
    if not a or not b:
        return len(a) + len(b)
    return min(slow(a[1:], b) + 1, slow(a, b[1:]) + 1, slow(a[1:], b[1:]) + (a[0] != b[0]))


@given(texts.filter(lambda x: len(x) <= 5), texts.filter(lambda x: len(x) <= 5))
def test_it_is_levenshteins_distance(a, b):
    assert word_errors(a, b) == slow(a, b)


@given(texts, texts, texts)
def test_it_is_a_distance(a, b, c):
    assert word_errors(a, b) == word_errors(b, a)
    assert word_errors(a, c) <= word_errors(a, b) + word_errors(b, c)
