from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aircheck.inference.text_safety.passages import (
    MAX_NEIGHBOUR_WORDS,
    MAX_SEGMENT_WORDS,
    Passage,
    normalise,
    passages,
    sentence_passages,
    sentences,
)


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("I'm going — to SHOUT, you know?", "i'm going to shout you know"),
        ("  'Quoted' and ’curly’ don’t  ", "quoted and curly don't"),
        ("snake_case [music] 3.5", "snake case music 3 5"),
        ("Ärger über Öl", "ärger über öl"),
        ("…!?", ""),
    ],
)
def test_case_and_punctuation_do_not_matter(written: str, spoken: str) -> None:
    assert normalise(written) == spoken


@given(st.text())
def test_normalising_twice_changes_nothing(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


def test_a_segment_is_scored_with_the_one_before_and_the_one_after() -> None:
    assert passages(["a b", "c", "d e", "f"]) == [
        Passage("a b", "a b c"),
        Passage("c", "a b c d e"),
        Passage("d e", "c d e f"),
        Passage("f", "d e f"),
    ]


def test_a_lone_segment_is_its_own_context() -> None:
    assert passages(["hello there"]) == [Passage("hello there", "hello there")]


def test_an_empty_window_has_no_passages() -> None:
    assert passages([]) == []


def test_of_long_neighbours_the_nearest_words_are_kept() -> None:
    long = [f"w{index}" for index in range(500)]
    first, middle, last = passages([" ".join(long), "mid", " ".join(long)])
    around = [*long[-MAX_NEIGHBOUR_WORDS:], "mid", *long[:MAX_NEIGHBOUR_WORDS]]
    assert middle.context == " ".join(around)
    assert first.text == last.text == " ".join(long[:MAX_SEGMENT_WORDS])


def test_a_text_is_split_at_the_ends_of_its_sentences() -> None:
    assert sentences("Wait! What is it? It's 3.5 km... 行こう。はい") == [
        "Wait!",
        "What is it?",
        "It's 3.5 km...",
        "行こう。",
        "はい",
    ]
    assert sentences("  ") == []


def test_every_word_of_a_long_sentence_is_scored() -> None:
    words = [f"w{index}" for index in range(300)]
    assert " ".join(sentences(" ".join(words))).split() == words
    assert max(len(piece.split()) for piece in sentences(" ".join(words))) <= MAX_SEGMENT_WORDS


def test_each_sentence_is_scored_alone_and_amid_its_neighbours() -> None:
    assert sentence_passages(["A. B.", "", "C."]) == [
        [Passage("A.", "A."), Passage("A.", "A. B."), Passage("B.", "B."), Passage("B.", "A. B.")],
        [Passage("", ""), Passage("", "B. C.")],
        [Passage("C.", "C."), Passage("C.", "C.")],
    ]
