"""Builders of classifier findings for the policy tests, and hypothesis strategies for them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from aircheck.policy.taxonomy import Category, Event
from aircheck_client.schema import (
    AcousticFindings,
    EventSpan,
    Segment,
    SentenceScores,
    Span,
    TextFindings,
    Transcript,
    WindowFindings,
)

WINDOW_S = 30

scores = st.integers(0, 100).map(lambda percent: percent / 100)
# Quarters of a second: exact in binary, so that shifting a window by whole seconds loses nothing.
spans_s = st.tuples(st.integers(0, 4 * WINDOW_S), st.integers(0, 4 * WINDOW_S)).map(
    lambda quarters: (min(quarters) / 4, max(quarters) / 4)
)


def segment(text: str = "hello", start_s: float = 0.0, end_s: float = 2.0, *, confident: bool = True) -> Segment:
    return Segment(
        start_s=start_s,
        end_s=end_s,
        text=text,
        avg_logprob=-0.3 if confident else -1.5,
        no_speech_prob=0.05,
        compression_ratio=1.2,
    )


def text_findings(*items: SentenceScores) -> TextFindings:
    return TextFindings(model="text-model", model_version="7", sentences=items)


def transcript(
    *segments: Segment,
    language: str = "en",
    speech: tuple[tuple[float, float], ...] | None = None,
    detected: tuple[str, float] | None = None,
    dropped: int = 0,
) -> Transcript:
    """What Whisper makes of a window; by default, speech is where the segments are."""
    spans = [(item.start_s, item.end_s) for item in segments] if speech is None else speech
    detected_language, probability = detected or (language, 0.99)
    return Transcript(
        model="ear",
        model_version="9",
        language=language if segments else "",
        detected_language=detected_language,
        detected_probability=probability,
        speech=tuple(Span(start_s=start_s, end_s=end_s) for start_s, end_s in spans),
        segments=segments,
        n_dropped=dropped,
    )


def transcript_of(text: TextFindings, language: str = "en") -> Transcript:
    """The transcript that a text classifier got."""
    return transcript(*(segment for item in text.sentences for segment in item.segments), language=language)


def said(
    category: str,
    score: float,
    text: str = "hello",
    start_s: float = 0.0,
    end_s: float = 2.0,
    *,
    confident: bool = True,
) -> SentenceScores:
    return sentence(segment(text, start_s, end_s, confident=confident), {category: score})


def sentence(of: Segment, scores: dict[str, float]) -> SentenceScores:
    """A segment that is one sentence."""
    return SentenceScores(text=of.text, start_s=of.start_s, end_s=of.end_s, segments=(of,), scores=scores)


def heard(*spans: EventSpan) -> AcousticFindings:
    return AcousticFindings(model="sound-model", model_version="3", spans=spans)


@st.composite
def scored_segments(draw: st.DrawFn) -> SentenceScores:
    start_s, end_s = draw(spans_s)
    return sentence(
        Segment(
            start_s=start_s,
            end_s=end_s,
            text=draw(st.text(max_size=200)),
            avg_logprob=draw(st.floats(-2, 0)),
            no_speech_prob=draw(scores),
            compression_ratio=draw(st.floats(0, 4)),
        ),
        draw(st.dictionaries(st.sampled_from(Category), scores)),
    )


@st.composite
def event_spans(draw: st.DrawFn) -> EventSpan:
    start_s, end_s = draw(spans_s)
    return EventSpan(event=draw(st.sampled_from(Event)), start_s=start_s, end_s=end_s, score=draw(scores))


texts = st.lists(scored_segments(), max_size=4).map(lambda items: text_findings(*items))
sounds = st.lists(event_spans(), max_size=4).map(lambda items: heard(*items))


def found(
    transcript: Transcript, text: TextFindings, acoustic: AcousticFindings, duration_s: float, **rest: Any
) -> WindowFindings:
    """Of a recording's first window."""
    return WindowFindings(
        start_s=0,
        duration_s=duration_s,
        transcript=transcript,
        text_findings=text,
        acoustic_findings=acoustic,
        **rest,
    )
