from __future__ import annotations

import contextlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aircheck.inference.text_safety.embedded import EmbeddedTextClassifier
from aircheck.inference.text_safety.errors import TranscriptError
from aircheck.inference.text_safety.service import (
    MAX_JSON_BYTES,
    MAX_SEGMENTS,
    classify,
    parse_transcript,
    window_scores,
)
from aircheck.policy.taxonomy import Category
from aircheck_client.schema import Segment, Transcript

THREAT = "i'm going to kill you, i swear i will"
CALM = ["we bought a new kettle and it whistles like a bird", "the train leaves at half past six from platform two"]


def segment(text: str, start_s: float = 0.0) -> Segment:
    return Segment(
        start_s=start_s, end_s=start_s + 2, text=text, avg_logprob=-0.3, no_speech_prob=0.1, compression_ratio=1.2
    )


def test_every_segment_keeps_its_words_and_gets_every_category(embedded: EmbeddedTextClassifier) -> None:
    window = [segment(text, 2.0 * index) for index, text in enumerate([CALM[0], THREAT, CALM[1]])]
    (findings,) = classify(embedded, [window])
    assert [item.segment for item in findings.segments] == window
    assert all(set(item.scores) == set(Category) for item in findings.segments)
    assert (findings.model, findings.model_version) == (embedded.name, embedded.version)


def test_harm_is_found_where_it_is_said_and_not_beside_it(embedded: EmbeddedTextClassifier) -> None:
    (findings,) = classify(embedded, [[segment(CALM[0]), segment(THREAT), segment(CALM[1])]])
    before, threat, after = (item.scores["violence_threat"] for item in findings.segments)
    assert threat >= 0.5
    assert max(before, after) < 0.2


def test_windows_are_scored_independently(embedded: EmbeddedTextClassifier) -> None:
    windows = [[segment(THREAT)], [], [segment(CALM[0]), segment(THREAT)], [segment(CALM[1])]]
    together = classify(embedded, windows)
    for window, findings in zip(windows, together, strict=True):
        (alone,) = classify(embedded, [window])
        assert [item.segment for item in alone.segments] == [item.segment for item in findings.segments]
        assert window_scores(findings) == pytest.approx(window_scores(alone), abs=1e-4)


def test_a_window_scores_its_worst_segment(embedded: EmbeddedTextClassifier) -> None:
    (findings,) = classify(embedded, [[segment(CALM[0]), segment(THREAT)]])
    for index, category in enumerate(Category):
        highest = max(item.scores[category] for item in findings.segments)
        assert window_scores(findings)[index] == pytest.approx(highest)


def test_a_window_without_speech_has_no_findings_and_scores_zero(embedded: EmbeddedTextClassifier) -> None:
    (findings,) = classify(embedded, [[]])
    assert findings.segments == ()
    assert np.array_equal(window_scores(findings), np.zeros(len(Category), dtype=np.float32))
    assert classify(embedded, []) == []


def test_a_threat_is_found_in_a_segment_with_a_calm_sentence(embedded: EmbeddedTextClassifier) -> None:
    (findings,) = classify(
        embedded, [[segment(f"{CALM[0].capitalize()}. {THREAT.capitalize()}. {CALM[1].capitalize()}.")]]
    )
    assert findings.segments[0].scores["violence_threat"] >= 0.5


def test_words_at_the_end_of_a_long_segment_are_scored(embedded: EmbeddedTextClassifier) -> None:
    (findings,) = classify(embedded, [[segment(" ".join([CALM[0]] * 20) + ". " + THREAT)]])
    assert findings.segments[0].scores["violence_threat"] >= 0.5


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
