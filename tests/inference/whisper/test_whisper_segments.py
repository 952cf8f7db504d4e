"""Segments against those that `whisper.transcribe` cuts from the same tokens."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch
import whisper
from hypothesis import given, settings
from hypothesis import strategies as st
from whisper.decoding import DecodingResult
from whisper.model import ModelDimensions
from whisper.tokenizer import get_tokenizer
from whisper.utils import compression_ratio

from aircheck.inference.whisper.decoding.options import DecodedPass, DecodedWindow
from aircheck.inference.whisper.decoding.segments import transcript

TOKENIZER = get_tokenizer(False, num_languages=99)
BEGIN = TOKENIZER.timestamp_begin
WORDS = [TOKENIZER.encode(word) for word in (" the", " weather", " is", " nice", " 30", " to", " day,", " don't")]


@dataclass
class SaysThis:
    """As much of a Whisper model as `whisper.transcribe` uses: its first window says `result`, the others nothing."""

    result: DecodingResult
    dims: ModelDimensions = field(default_factory=lambda: ModelDimensions(80, 1500, 8, 1, 1, 51864, 448, 8, 1, 1))
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    is_multilingual: bool = False
    num_languages: int = 99
    calls: int = 0

    def decode(self, _mel: torch.Tensor, _options: whisper.DecodingOptions) -> DecodingResult:
        self.calls += 1
        silence = DecodingResult(
            self.result.audio_features, "en", tokens=[BEGIN], avg_logprob=0.0, no_speech_prob=0.0, temperature=0.0
        )
        return self.result if self.calls == 1 else silence


def result(tokens: list[int], avg_logprob: float = -0.5, no_speech_prob: float = 0.1) -> DecodingResult:
    text = TOKENIZER.decode(tokens).strip()
    return DecodingResult(
        torch.zeros(0), "en", None, tokens, text, avg_logprob, no_speech_prob, 0.0, compression_ratio(text)
    )


def first_window_of_transcribe(decoded: DecodingResult, duration_s: float) -> list[dict]:
    samples = np.zeros(round(duration_s * 16_000), np.float32)
    segments = whisper.transcribe(SaysThis(decoded), samples, temperature=0.0, language="en", fp16=False)["segments"]
    return [segment for segment in segments if segment["seek"] == 0 and segment["text"].strip()]


@st.composite
def window_tokens(draw: st.DrawFn, closed: bool) -> list[int]:
    """Tokens as the timestamp rules let them be said; not `closed`: the last text has no closing timestamp."""
    n_segments = draw(st.integers(1, 4))
    stamps = sorted(draw(st.lists(st.integers(0, 1500), min_size=2 * n_segments, max_size=2 * n_segments, unique=True)))
    stamps[0] = min(stamps[0], 50)
    tokens: list[int] = []
    for i in range(n_segments):
        words = draw(st.lists(st.sampled_from(WORDS), min_size=1, max_size=5))
        start, end = stamps[2 * i : 2 * i + 2]
        tokens += [BEGIN + start, *(token for word in words for token in word), BEGIN + end]
    return tokens if closed else tokens[:-1]


def segments_of(decoded: DecodingResult, duration_s: float) -> list[tuple[float, float, str]]:
    window = DecodedWindow(tuple(decoded.tokens), "en", decoded.avg_logprob, decoded.no_speech_prob)
    return [
        (s.start_s, s.end_s, s.text) for s in transcript([DecodedPass(0.0, window)], TOKENIZER, duration_s).segments
    ]


def clipped(segment: dict, duration_s: float) -> tuple[object, object, str]:
    return (
        pytest.approx(min(segment["start"], duration_s)),
        pytest.approx(min(segment["end"], duration_s)),
        segment["text"].strip(),
    )


@settings(max_examples=25, deadline=None)
@given(window_tokens(closed=True), st.sampled_from([1.0, 7.5, 30.0]), st.booleans())
def test_segments_are_those_of_openai_whisper(tokens: list[int], duration_s: float, says_next_start: bool) -> None:
    if says_next_start:
        tokens = [*tokens, tokens[-1]]  # a pair at the very end
    decoded = result(tokens)
    expected = first_window_of_transcribe(decoded, duration_s)
    assert segments_of(decoded, duration_s) == [clipped(segment, duration_s) for segment in expected]


@settings(max_examples=15, deadline=None)
@given(window_tokens(closed=False), st.sampled_from([7.5, 30.0]))
def test_text_without_a_closing_timestamp_is_kept_and_runs_to_the_end(tokens: list[int], duration_s: float) -> None:
    decoded = result(tokens)
    *closed, last = segments_of(decoded, duration_s)
    expected = [clipped(segment, duration_s) for segment in first_window_of_transcribe(decoded, duration_s)]
    if closed:  # whisper.transcribe decodes the rest again from its start, so it is not among these
        assert closed == expected
    assert last[1] == duration_s or closed == []
    assert " ".join(text for _, _, text in [*closed, last]) == TOKENIZER.decode(tokens).strip()


@pytest.mark.parametrize("avg_logprob", [-0.99, -1.0, -1.01])
@pytest.mark.parametrize("no_speech_prob", [0.59, 0.6, 0.61])
def test_a_window_is_silent_when_openai_whisper_says_so(avg_logprob: float, no_speech_prob: float) -> None:
    decoded = result([BEGIN, *WORDS[1], BEGIN + 100], avg_logprob, no_speech_prob)
    assert bool(segments_of(decoded, 5.0)) == bool(first_window_of_transcribe(decoded, 5.0))


def test_a_silent_window_says_nothing() -> None:
    window = DecodedWindow((BEGIN, *WORDS[1], BEGIN + 100), "en", avg_logprob=-3.0, no_speech_prob=0.9)
    made = transcript([DecodedPass(0.0, window)], TOKENIZER, 5.0)
    assert (made.text, made.segments, made.language) == ("", (), "")


def test_segments_carry_the_confidence_of_their_window() -> None:
    loop = [token for _ in range(40) for token in WORDS[1]]
    window = DecodedWindow((BEGIN, *loop, BEGIN + 500, BEGIN + 500, *WORDS[0], BEGIN + 600), "en", -0.7, 0.2)
    made = transcript([DecodedPass(0.0, window)], TOKENIZER, 30.0)
    assert len(made.segments) == 2
    for segment in made.segments:
        assert (segment.avg_logprob, segment.no_speech_prob, segment.temperature) == (-0.7, 0.2, 0.0)
        assert segment.compression_ratio == pytest.approx(compression_ratio(made.text), abs=1e-4)
        assert segment.compression_ratio > 2.4


def test_a_window_of_timestamps_alone_has_no_segments() -> None:
    assert segments_of(result([BEGIN, BEGIN + 50]), 5.0) == []


def closed(start_s: float, end_s: float, words: list[int]) -> DecodedWindow:
    tokens = (BEGIN + round(start_s / 0.02), *words, BEGIN + round(end_s / 0.02))
    return DecodedWindow(tokens, "en", -0.3, 0.1, detected_language="nl", detected_probability=0.6)


def test_times_of_a_later_pass_count_from_the_windows_start() -> None:
    passes = [DecodedPass(0.0, closed(0, 4, WORDS[0])), DecodedPass(11.0, closed(0, 3, WORDS[1]))]
    made = transcript(passes, TOKENIZER, 14.5)
    assert [(s.start_s, s.end_s) for s in made.segments] == [(0.0, 4.0), (11.0, 14.0)]
    assert made.text == " ".join(segment.text for segment in made.segments)


def test_text_where_nobody_speaks_is_dropped_and_counted() -> None:
    passes = [DecodedPass(0.0, closed(0, 4, WORDS[0])), DecodedPass(20.0, closed(0, 3, WORDS[1]))]
    made = transcript(passes, TOKENIZER, 30.0, [(1.0, 4.2)])
    assert [(s.start_s, s.end_s) for s in made.segments] == [(1.0, 4.0)]
    assert made.n_dropped == 1


def test_a_window_without_words_has_no_language_but_says_what_was_detected() -> None:
    made = transcript([DecodedPass(0.0, closed(0, 4, WORDS[0]))], TOKENIZER, 30.0, [(20.0, 22.0)])
    assert (made.language, made.segments, made.n_dropped) == ("", (), 1)
    assert (made.detected_language, made.detected_probability) == ("nl", 0.6)


def test_a_text_without_an_end_ends_with_the_speech() -> None:
    window = DecodedWindow((BEGIN, *WORDS[0]), "en", -0.3, 0.1)
    (segment,) = transcript([DecodedPass(2.0, window)], TOKENIZER, 30.0, [(2.2, 9.5)]).segments
    assert (segment.start_s, segment.end_s) == pytest.approx((2.2, 9.3))


@pytest.mark.parametrize(
    ("avg_logprob", "no_speech_prob", "temperature", "is_believed"),
    [
        (-0.69, 0.5, 0.0, True),  # likely words, though they hardly sound like speech
        (-0.71, 0.21, 0.0, False),
        (-0.71, 0.19, 0.0, True),
        (-0.99, 0.1, 0.2, True),
        (-1.01, 0.1, 1.0, False),  # no temperature gave a likely text
        (-1.01, 0.1, 0.0, True),  # no other was tried
    ],
)
def test_text_that_is_not_believed_is_dropped_where_speech_activity_is_known(
    avg_logprob: float, no_speech_prob: float, temperature: float, is_believed: bool
) -> None:
    window = replace(closed(0.0, 2.0, WORDS[1]), avg_logprob=avg_logprob, no_speech_prob=no_speech_prob)
    window = replace(window, temperature=temperature)
    made = transcript([DecodedPass(0.0, window)], TOKENIZER, 5.0, [(0.0, 2.0)])
    assert (bool(made.segments), made.n_dropped) == (is_believed, int(not is_believed))
    assert bool(made.language) == is_believed
    assert transcript([DecodedPass(0.0, window)], TOKENIZER, 5.0).segments  # openai-whisper's own tests alone


def test_the_language_is_that_of_the_first_words_that_are_believed() -> None:
    doubtful = replace(closed(0.0, 2.0, WORDS[1]), language="ko", avg_logprob=-0.9, no_speech_prob=0.5)
    passes = [DecodedPass(0.0, replace(doubtful, detected_language="ko")), DecodedPass(10.0, closed(0, 2, WORDS[0]))]
    made = transcript(passes, TOKENIZER, 20.0, [(0.0, 2.0), (10.0, 12.0)])
    assert (made.language, made.detected_language) == ("en", "nl")


@pytest.mark.parametrize(
    ("times_s", "expected_s"),
    [
        ((0.5, 5.0), (1.0, 2.8)),  # the pauses at its ends are no part of a segment
        ((0.5, 7.5), (1.0, 7.5)),
        ((1.5, 2.9), (1.5, 2.8)),  # nor is what speech activity adds after the last word
        ((2.0, 6.4), (2.0, 6.4)),
        ((3.2, 5.8), (3.2, 5.8)),  # beside speech, in none
    ],
)
def test_a_segments_times_are_those_of_its_speech(
    times_s: tuple[float, float], expected_s: tuple[float, float]
) -> None:
    speech = [(1.0, 3.0), (6.2, 8.0)]
    one = DecodedPass(times_s[0], closed(0.0, times_s[1] - times_s[0], WORDS[1]))
    (segment,) = transcript([one], TOKENIZER, 20.0, speech).segments
    assert (segment.start_s, segment.end_s) == pytest.approx(expected_s)
