"""What of an overlapping window is reported: each word and sound of one window."""

from __future__ import annotations

import json

import pytest

from aircheck.policy.errors import RequestError
from aircheck.policy.own import PARAMETER, Own, last_said, own_findings, own_findings_json, own_of, own_segments
from aircheck_client.schema import (
    AcousticFindings,
    EventSpan,
    Segment,
    SentenceScores,
    Span,
    TextFindings,
    Transcript,
    Word,
)

OWN = Own(start_s=1.0, end_s=4.0)
HEARD_S = 4.4


def segment(*words: tuple[str, float, float]) -> Segment:
    return Segment(
        start_s=words[0][1],
        end_s=words[-1][2],
        text="".join(text for text, _, _ in words).strip(),
        avg_logprob=-0.2,
        no_speech_prob=0.01,
        compression_ratio=1.1,
        words=tuple(Word(text=text, start_s=start_s, end_s=end_s, probability=0.9) for text, start_s, end_s in words),
    )


SAID = segment(
    (" before", 0.2, 0.8), (" astride", 0.7, 1.4), (" own", 2.0, 2.5), (" last", 3.7, 4.2), (" after", 4.2, 4.4)
)


def words_of(segments) -> str:
    return " ".join(segment.text for segment in segments)


def test_a_request_names_what_it_reports():
    assert own_of(json.dumps({PARAMETER: OWN.model_dump_json()})) == OWN
    assert own_of("") is own_of('{"waited_for": "/a/file"}') is None
    with pytest.raises(RequestError, match="parameter own"):
        own_of(json.dumps({PARAMETER: "[]"}))


def test_a_window_reports_the_words_that_begin_before_its_end():
    (kept,) = own_segments([SAID], OWN, HEARD_S)
    assert kept.text == "astride own last"
    assert (kept.start_s, kept.end_s) == (0.7, 4.2)
    assert [word.text for word in kept.words] == [" astride", " own", " last"]


FIRST = segment((" we", 0.1, 0.3), (" met", 0.4, 0.9), (" at", 1.0, 1.2), (" the", 1.3, 1.5), (" stationed", 1.6, 1.95))
CUT_S, LEAD_S = 1.8, 1.0  # of the first window's audio; what the second hears before that


@pytest.mark.parametrize(
    ("second", "new"),
    [
        # as the first window has them, a little later
        (((" the", 0.7, 0.8), (" stationed", 0.9, 1.2), (" and", 1.3, 1.5), (" left", 1.6, 2.0)), "and left"),
        # so much earlier that the next word lies before the cut
        (((" the", 0.2, 0.3), (" stationed", 0.4, 0.6), (" and", 0.6, 0.8), (" left", 0.9, 1.3)), "and left"),
        # the last word is another one here, at the same time
        (((" at", 0.2, 0.3), (" the", 0.5, 0.7), (" station", 0.8, 1.1), (" and", 1.2, 1.4)), "and"),
        # nothing is heard again
        (((" and", 1.2, 1.4), (" left", 1.6, 2.0)), "and left"),
        (((" than", 0.4, 0.7), (" and", 1.2, 1.4)), "and"),
        # the same word is said twice: the second time is new
        (((" stationed", 0.8, 1.1), (" stationed", 1.6, 2.0)), "stationed"),
    ],
)
def test_a_window_goes_on_where_the_one_before_it_ended(second, new):
    before = own_segments([FIRST], Own(start_s=0.0, end_s=CUT_S), 2.2)
    assert words_of(before) == FIRST.text
    said = last_said((), before, 0.0)
    own = Own(start_s=LEAD_S, end_s=3.0).after(said, CUT_S - LEAD_S)
    assert words_of(own_segments([segment(*second)], own, 3.0)) == new


def test_after_silence_the_words_of_a_window_begin_with_its_own():
    assert words_of(own_segments([SAID], OWN, HEARD_S)) == "astride own last"
    long_ago = Own(start_s=1.0, end_s=4.0).after(last_said((), [FIRST], 0.0), 60.0)
    assert words_of(own_segments([SAID], long_ago, HEARD_S)) == "before astride own last"


def test_a_segment_without_words_of_its_own_is_left_out_and_one_whose_words_are_unknown_is_judged_whole():
    early, unknown = segment((" before", 0.2, 0.8)), segment((" own", 2.0, 2.5)).model_copy(update={"words": ()})
    assert own_segments([early, unknown], OWN, HEARD_S) == (unknown,)


def test_a_segment_lies_where_its_middle_does():
    assert OWN.holds(segment((" own", 0.7, 1.4)))
    assert not OWN.holds(segment((" before", 0.5, 1.4)))
    assert not OWN.holds(segment((" after", 3.9, 4.3)))


def test_times_count_from_the_start_of_what_is_reported():
    kept = own_segments([SAID], OWN, HEARD_S)
    sentence = SentenceScores(text=kept[0].text, start_s=0.7, end_s=4.2, segments=kept, scores={"hate": 0.5})
    transcript = Transcript(
        model="w",
        model_version="1",
        segments=kept,
        speech=(Span(start_s=0.1, end_s=0.9), Span(start_s=0.95, end_s=4.4)),
    )
    text = TextFindings(model="t", model_version="1", sentences=(sentence,))
    said, read, _ = own_findings(transcript, text, sounds(), OWN)
    assert said.speech == (Span(start_s=0.0, end_s=3.0),)
    assert (said.segments[0].start_s, said.segments[0].end_s) == (0.0, 3.0)
    assert [(word.start_s, word.end_s) for word in said.segments[0].words] == [(0.0, 0.4), (1.0, 1.5), (2.7, 3.0)]
    assert (read.sentences[0].start_s, read.sentences[0].end_s) == (0.0, 3.0)
    assert read.sentences[0].segments == said.segments


def sounds(*spans: tuple[float, float]) -> AcousticFindings:
    found = tuple(EventSpan(event="gunshot", start_s=start_s, end_s=end_s, score=0.9) for start_s, end_s in spans)
    return AcousticFindings(model="a", model_version="1", spans=found)


@pytest.mark.parametrize(
    ("span", "reported"),
    [
        ((0.1, 0.9), None),
        ((0.5, 1.2), None),  # most of it lies before
        ((0.8, 1.4), (0.0, 0.4)),
        ((2.0, 2.5), (1.0, 1.5)),
        ((3.9, 4.4), None),  # most of it lies behind
        ((0.0, 4.4), (0.0, 3.0)),  # goes on
        ((0.0, 2.1), (0.0, 1.1)),
    ],
)
def test_a_sound_belongs_to_the_window_that_holds_most_of_it_and_a_long_one_to_each(span, reported):
    *_, heard = own_findings(
        Transcript(model="w", model_version="1"), TextFindings(model="t", model_version="1"), sounds(span), OWN
    )
    assert [(one.start_s, one.end_s) for one in heard.spans] == ([reported] if reported else [])


def test_what_is_no_finding_is_refused():
    with pytest.raises(RequestError, match="findings"):
        own_findings_json(b"{}", b"{}", b"{}", OWN)
