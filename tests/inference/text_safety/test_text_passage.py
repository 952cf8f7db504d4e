from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aircheck.inference.text_safety.passage import (
    MAX_CLAUSE_WORDS,
    MIN_CLAUSE_WORDS,
    WINDOW_WORDS,
    clauses,
    combined,
    in_context,
    parts,
    readings,
    with_context,
)


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("The shop is shut, we tried the door.", ["The shop is shut,", "we tried the door."]),
        (
            "It rained all day – we stayed in; and nobody came.",
            ["It rained all day", "we stayed in;", "and nobody came."],
        ),
        ("Well, you know, it costs 3,500 now.", ["Well, you know,", "it costs 3,500 now."]),
        ("We went home, you see.", ["We went home, you see."]),
        ("我们昨天去了商店，店门已经关了。", ["我们昨天去了商店，", "店门已经关了。"]),
        ("No pause in here", ["No pause in here"]),
        ("…", ["…"]),
        ("", []),
    ],
)
def test_a_sentence_has_clauses_of_some_words(sentence: str, expected: list[str]) -> None:
    assert clauses(sentence) == expected


def test_a_clause_of_its_own_is_no_part() -> None:
    assert not parts("No pause in here")


def test_every_word_of_a_long_clause_lies_in_a_window() -> None:
    for n_words in range(1, 40):
        words = [f"w{index}" for index in range(n_words)]
        windows = [part.split() for part in parts(" ".join(words))]
        if n_words <= MAX_CLAUSE_WORDS:
            assert windows == []
            continue
        assert {word for window in windows for word in window} == set(words)
        assert {len(window) for window in windows} == {WINDOW_WORDS}
        # what fits into half a window is never cut by all of them
        half = WINDOW_WORDS // 2
        for start in range(n_words - half + 1):
            assert any(set(words[start : start + half]) <= set(window) for window in windows)


@given(st.text())
def test_clauses_lose_no_word(text: str) -> None:
    spoken = "".join(character for character in text if character.isalnum())
    assert "".join(character for character in "".join(clauses(text)) if character.isalnum()) == spoken


def test_short_clauses_join_others() -> None:
    for clause in clauses("yes, no, well, we all went home, right, or was it late, as they say, in the end"):
        assert len(clause.split()) >= MIN_CLAUSE_WORDS


def test_a_context_is_a_sentence_amid_its_neighbours() -> None:
    assert in_context(["a", "b", "c", "d"]) == ["a b", "a b c", "b c d", "c d"]
    assert in_context(["a"]) == ["a"]
    assert in_context([]) == []


def test_context_raises_the_most_harmful_sentence_and_no_other() -> None:
    alone = np.array([[0.1], [0.4], [0.2], [0.1]])
    amid = np.array([[0.9], [0.8], [0.7], [0.05]])
    assert with_context(alone, amid).tolist() == [[0.1], [0.8], [0.2], [0.1]]


def test_no_text_is_read_twice() -> None:
    texts = readings(["one and two, three and four", "one and two, three and four"])
    assert len(texts) == len(set(texts))


def test_a_part_raises_its_sentence_half_way_and_never_lowers_it() -> None:
    sentence, harmful, harmless = "you told on me, i will get you", "i will get you", "you told on me,"
    logits = {sentence: np.array([-1.0, 2.0]), harmful: np.array([3.0, 1.0]), harmless: np.array([-5.0, -5.0])}
    assert combined([sentence], logits).tolist() == [[1.0, 2.0]]
