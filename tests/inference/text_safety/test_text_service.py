from __future__ import annotations

import contextlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aircheck.inference.text_safety.embedded import EmbeddedTextClassifier
from aircheck.inference.text_safety.errors import TranscriptError
from aircheck.inference.text_safety.sentences import sentence_before
from aircheck.inference.text_safety.service import (
    MAX_JSON_BYTES,
    MAX_SEGMENTS,
    classify,
    parse_transcript,
    window_scores,
)
from aircheck.policy.own import Own, SaidWord
from aircheck.policy.taxonomy import Category
from aircheck_client.schema import Segment, Transcript

THREAT = "i'm going to kill you, i swear i will"
CALM = ["we bought a new kettle and it whistles like a bird", "the train leaves at half past six from platform two"]


def segment(text: str, start_s: float = 0.0) -> Segment:
    return Segment(
        start_s=start_s, end_s=start_s + 2, text=text, avg_logprob=-0.3, no_speech_prob=0.1, compression_ratio=1.2
    )


def test_every_sentence_gets_every_category(embedded: EmbeddedTextClassifier) -> None:
    window = [segment(text, 2.0 * index) for index, text in enumerate([f"{CALM[0]}.", f"{THREAT}.", f"{CALM[1]}."])]
    (findings,) = classify(embedded, [window])
    assert [item.segments for item in findings.sentences] == [(part,) for part in window]
    assert [item.text for item in findings.sentences] == [part.text for part in window]
    assert all(set(item.scores) == set(Category) for item in findings.sentences)
    assert (findings.model, findings.model_version) == (embedded.name, embedded.version)
    assert findings.languages == embedded.languages


def test_harmless_sentences_neither_hide_a_threat_nor_share_its_score(embedded: EmbeddedTextClassifier) -> None:
    text = " ".join(f"{part.capitalize()}." for part in (*CALM, THREAT, *CALM))
    (findings,) = classify(embedded, [[segment(text)]])
    scores = [item.scores["violence_threat"] for item in findings.sentences]
    assert scores[2] >= 0.5
    assert max(scores[:2] + scores[3:]) < 0.2


HARMFUL = [
    "I will find you and I will kill you.",
    "You are a stupid worthless idiot.",
    "Immigrants are rats and we should throw them out.",
    "I am going to end my life tonight.",
    "I sell stolen guns, call me if you want one.",
]


@pytest.mark.parametrize("harmful", HARMFUL)
def test_neighbours_never_dilute_a_score_nor_take_part_in_it(embedded: EmbeddedTextClassifier, harmful: str) -> None:
    texts = [f"{CALM[0]}.", harmful, f"{CALM[1]}."]
    alone = embedded.score(texts)
    category = int(alone[1].argmax())
    for calm_before in (0, 1, 6):  # sentences between
        window = [texts[0]] * calm_before + [harmful] + [texts[2]] * 6
        (findings,) = classify(embedded, [[segment(" ".join(window))]])
        assert [item.text for item in findings.sentences] == window
        scores = [item.scores[list(Category)[category]] for item in findings.sentences]
        assert scores[calm_before] >= alone[1, category] - 1e-6
        for index, text in enumerate(window):
            if abs(index - calm_before) == 1:  # beside it
                assert scores[index] == pytest.approx(alone[texts.index(text), category], abs=1e-5)


def test_a_harmless_sentence_after_an_insult_stays_harmless(embedded: EmbeddedTextClassifier) -> None:
    (findings,) = classify(embedded, [[segment("You are a stupid worthless idiot."), segment("The bus is late.", 2.0)]])
    insult, bus = (item.scores["harassment"] for item in findings.sentences)
    assert insult >= 0.5
    assert bus < 0.2


def test_a_harmless_clause_does_not_hide_a_threat(embedded: EmbeddedTextClassifier) -> None:
    (findings,) = classify(embedded, [[segment("We met at the station, I will find you and I will kill you.")]])
    (sentence,) = findings.sentences
    assert sentence.scores["violence_threat"] >= 0.5


def test_a_threat_that_two_segments_share_is_one_sentence(embedded: EmbeddedTextClassifier) -> None:
    halves = [segment("I'm going to"), segment("kill you, I swear I will.", 2.0)]
    (findings,) = classify(embedded, [halves])
    (threat,) = findings.sentences
    assert threat.segments == tuple(halves)
    assert threat.scores["violence_threat"] >= 0.5


def test_a_window_among_others_is_scored_as_if_alone(embedded: EmbeddedTextClassifier) -> None:
    windows = [[segment(THREAT)], [], [segment(CALM[0]), segment(THREAT)], [segment(CALM[1])]]
    together = classify(embedded, windows)
    assert together == [classify(embedded, [window])[0] for window in windows]


def test_a_window_scores_its_worst_sentence(embedded: EmbeddedTextClassifier) -> None:
    (findings,) = classify(embedded, [[segment(CALM[0] + "."), segment(THREAT)]])
    for index, category in enumerate(Category):
        highest = max(item.scores[category] for item in findings.sentences)
        assert window_scores(findings)[index] == pytest.approx(highest)


def test_a_window_without_speech_has_no_findings_and_scores_zero(embedded: EmbeddedTextClassifier) -> None:
    (findings,) = classify(embedded, [[]])
    assert findings.sentences == ()
    assert np.array_equal(window_scores(findings), np.zeros(len(Category), dtype=np.float32))
    assert classify(embedded, []) == []


@pytest.mark.parametrize("harmful", HARMFUL)
def test_a_sentence_after_400_words_scores_as_alone(embedded: EmbeddedTextClassifier, harmful: str) -> None:
    alone = embedded.score([harmful])[0]
    category = int(alone.argmax())
    words = " ".join([CALM[0]] * 40).split()[:400]
    (findings,) = classify(embedded, [[segment(f"{' '.join(words)}. {harmful}")]])
    last = findings.sentences[-1]
    assert last.text == harmful
    assert last.scores[list(Category)[category]] >= alone[category] - 1e-6
    assert window_scores(findings)[category] >= alone[category] - 1e-6


def test_words_beyond_128_are_scored(embedded: EmbeddedTextClassifier) -> None:
    column = list(Category).index(Category.VIOLENCE_THREAT)
    calm = " ".join([CALM[0]] * 20)
    harmless, unpunctuated, punctuated = (
        window_scores(classify(embedded, [[segment(text)]])[0])[column]
        for text in (calm, f"{calm} {THREAT}", f"{calm}. {THREAT}")
    )
    assert punctuated >= 0.5
    assert unpunctuated >= 0.3
    assert harmless < 0.05


def transcript(**changes: object) -> dict[str, object]:
    return Transcript(model="base", model_version="1", language="en", segments=(segment("hi"),)).model_dump() | changes


def one_segment(**changes: object) -> str:
    return json.dumps(transcript(segments=[segment("hi").model_dump() | changes]))


def test_a_transcript_survives_its_trip_through_json() -> None:
    made = Transcript(model="base", model_version="1", segments=(segment("hello", 1.0), segment("", 3.0)), n_dropped=1)
    assert parse_transcript(made.model_dump_json().encode()) == made


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ("", "JSON"),
        ("null", "object"),
        ("[]", "object"),
        (json.dumps(transcript(segments=["text"])), "segments.0"),
        (json.dumps(transcript(segments=[{"text": "hi"}])), "segments.0.start_s"),
        ("[" * 100_000, "JSON"),
        ("\x00\ufffd", "JSON"),
        (one_segment(start_s=-1), "segments.0.start_s"),
        (one_segment(no_speech_prob=float("nan")), "segments.0.no_speech_prob"),
        (one_segment(avg_logprob=float("-inf")), "segments.0.avg_logprob"),
        (one_segment(extra=1), "segments.0.extra"),
        (json.dumps(transcript(segments=[segment("hi").model_dump()] * (MAX_SEGMENTS + 1))), str(MAX_SEGMENTS)),
        (" " * (MAX_JSON_BYTES + 1), str(MAX_JSON_BYTES)),
    ],
)
def test_hostile_json_is_refused_with_its_fault(value: str, named: str) -> None:
    with pytest.raises(TranscriptError, match=named):
        parse_transcript(value)


@given(st.binary(max_size=200))
def test_random_bytes_never_raise_anything_else(value: bytes) -> None:
    with contextlib.suppress(TranscriptError):
        assert isinstance(parse_transcript(value), Transcript)


SPLIT = ("I will find you and I will", "kill you.")


def test_a_threat_that_a_cut_splits_is_found_after_it(embedded: EmbeddedTextClassifier) -> None:
    (alone,), (whole,) = (classify(embedded, [[segment(text)]]) for text in (SPLIT[0], " ".join(SPLIT)))
    assert alone.sentences[0].scores["violence_threat"] < 0.5 <= whole.sentences[0].scores["violence_threat"]
    rest = [segment("kill you. The bus is late.")]
    (found,) = classify(embedded, [rest], before=[SPLIT[0]])
    scores = [item.scores["violence_threat"] for item in found.sentences]
    assert scores[0] >= whole.sentences[0].scores["violence_threat"] - 1e-6
    assert scores[1] < 0.2
    assert [item.text for item in found.sentences] == ["kill you.", "The bus is late."]


def test_what_was_found_before_a_cut_is_not_found_again_after_it(embedded: EmbeddedTextClassifier) -> None:
    before = "I will find you and I will kill you"
    (found,) = classify(embedded, [[segment("tomorrow at the station.")]], before=[before])
    assert found.sentences[0].scores["violence_threat"] < 0.5


def said(*words: str) -> Own:
    spoken = tuple(SaidWord(text=f" {word}", start_s=float(at), end_s=at + 0.5) for at, word in enumerate(words))
    return Own(start_s=len(words), end_s=20.0, said=spoken)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("I", "will", "find"), "I will find"),
        (("It", "rained.", "I", "will"), "I will"),
        (("It", "rained.", "We", "left."), "We left."),
    ],
)
def test_the_sentence_before_a_window_is_the_last_one_said(words: tuple[str, ...], sentence: str) -> None:
    own = said(*words)
    assert sentence_before(own, [segment("kill you.", own.start_s)]) == sentence
    assert sentence_before(own, [segment("kill you.", own.start_s + 10)]) == ""  # after a pause
    assert sentence_before(own, []) == ""
