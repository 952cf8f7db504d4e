from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aircheck.inference.text_safety.sentences import MAX_WORDS, normalise, sentences
from aircheck_client.schema import Segment, Word


def segment(text: str, start_s: float = 0.0, end_s: float | None = None, **fields: object) -> Segment:
    values = {
        "start_s": start_s,
        "end_s": start_s + 2 if end_s is None else end_s,
        "text": text,
        "avg_logprob": -0.3,
        "no_speech_prob": 0.1,
        "compression_ratio": 1.2,
    }
    return Segment.model_validate(values | fields)


def texts_of(*segments: Segment) -> list[str]:
    return [sentence.text for sentence in sentences(segments)]


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("I'm going — to SHOUT, you know?", "i'm going to shout you know"),
        ("  'Quoted' and ’curly’ don’t  ", "quoted and curly don't"),
        ("snake_case [music] 3.5", "snake case music 3 5"),
        ("Ärger über Öl", "ärger über öl"),
        ("हिन्दी में", "हिन्दी में"),
        ("…!?", ""),
    ],
)
def test_case_and_punctuation_do_not_matter(written: str, spoken: str) -> None:
    assert normalise(written) == spoken


@given(st.text())
def test_normalising_twice_changes_nothing(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


def test_a_text_is_split_at_the_ends_of_its_sentences() -> None:
    assert texts_of(segment("Wait! What  is it? It's 3.5 km... 行こう。はい")) == [
        "Wait!",
        "What is it?",
        "It's 3.5 km...",
        "行こう。",
        "はい",
    ]


def test_a_sentence_goes_on_in_the_next_segment() -> None:
    parts = [segment("Hello. I am going to", 0.0), segment("kill you. Bye.", 2.0)]
    hello, threat, bye = sentences(parts)
    assert threat.text == "I am going to kill you."
    assert threat.segments == tuple(parts)
    assert (hello.segments, bye.segments) == ((parts[0],), (parts[1],))
    assert hello.end_s <= threat.start_s < 2 < threat.end_s <= bye.start_s


def test_a_quote_ends_a_sentence_only_where_the_segment_ends() -> None:
    assert texts_of(segment('We are late."', 0.0), segment("Please wait.", 2.0)) == ['We are late."', "Please wait."]
    assert texts_of(segment('"We are late." she said.')) == ['"We are late." she said.']


def test_a_long_pause_or_another_language_ends_a_sentence() -> None:
    assert texts_of(segment("one", 0.0), segment("two", 10.0)) == ["one", "two"]
    assert texts_of(segment("one", 0.0, language="en"), segment("zwei", 2.0, language="de")) == ["one", "zwei"]


def test_times_are_those_of_the_words_where_there_are_any() -> None:
    words = (
        Word(text=" No.", start_s=0.0, end_s=3.0, probability=1),
        Word(text=" I", start_s=3.5, end_s=3.6, probability=1),
        Word(text=" will.", start_s=3.7, end_s=4.0, probability=1),
    )
    no, will = sentences([segment(" No. I will.", 0.0, 4.0, words=words)])
    assert (no.start_s, no.end_s, will.start_s, will.end_s) == (0.0, 3.0, 3.5, 4.0)


def test_times_without_words_follow_the_share_of_the_text() -> None:
    first, second = sentences([segment("abcd. efghi jklm.", 10.0, 15.0)])
    assert (first.start_s, second.end_s) == (10.0, 15.0)
    assert first.end_s == second.start_s == pytest.approx(10 + 5 * 5 / 15)


def test_every_word_of_a_long_sentence_is_kept() -> None:
    words = [f"w{index}" for index in range(300)]
    made = texts_of(segment(" ".join(words)))
    assert " ".join(made).split() == words
    assert max(len(text.split()) for text in made) == MAX_WORDS


@given(st.lists(st.text(max_size=60), max_size=5))
def test_no_character_is_lost_and_times_are_in_order(texts: list[str]) -> None:
    segments = [segment(text, 2.0 * index) for index, text in enumerate(texts)]
    made = sentences(segments)
    assert "".join("".join(sentence.text.split()) for sentence in made) == "".join(
        "".join(text.split()) for text in texts
    )
    for sentence in made:
        assert 0 <= sentence.start_s <= sentence.end_s <= 2 * len(texts) + 1e-6
