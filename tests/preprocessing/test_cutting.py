from itertools import pairwise

import numpy as np
import pytest

from preprocessing.cutting import lookahead, window_end
from preprocessing.speech_activity import SAMPLE_RATE_HZ, Span, SpanOptions, speech_activity
from preprocessing.windows import cut
from support.audio import silence
from support.recordings import SPEECH, human_speech
from support.speech import speak

LONGEST_S = 30.0
LONGEST = int(LONGEST_S * SAMPLE_RATE_HZ)
SENTENCES = (
    "The quick brown fox jumps over the lazy dog.",
    "Nobody had seen the garden in so fine a state before that summer.",
    "He put the letter down and walked over to the window.",
    "Seven boats were waiting in the harbour when the morning came.",
    "It was a long way home, and nobody felt like talking.",
)


def seconds(samples: int) -> float:
    return samples / SAMPLE_RATE_HZ


@pytest.fixture(scope="module")
def sentences() -> list[np.ndarray]:
    """Sentences without the silence around them."""
    spoken = []
    for text in SENTENCES:
        samples = speak(text)
        loud = np.flatnonzero(np.abs(samples) > 0.01)
        spoken.append(samples[loud[0] : loud[-1]])
    return spoken


def talk(sentences: list[np.ndarray], duration_s: float, pause_s: float) -> tuple[np.ndarray, list[Span]]:
    """Sentences with pauses between them, cut off after `duration_s`, and where the pauses are."""
    parts, pauses, size = [], [], 0
    while seconds(size) < duration_s:
        sentence = sentences[len(pauses) % len(sentences)]
        parts += [sentence, silence(pause_s)]
        end_s = seconds(size + len(sentence))
        pauses.append(Span(end_s, end_s + pause_s))
        size += len(sentence) + len(parts[-1])
    return np.concatenate(parts)[: round(duration_s * SAMPLE_RATE_HZ)], pauses


def speech_s(samples: np.ndarray) -> float:
    return sum(span.duration_s for span in speech_activity().spans(samples))


@pytest.mark.parametrize("pause_s", [0.25, 0.5, 1.5])
def test_a_window_ends_in_the_last_pause(sentences, pause_s):
    samples, pauses = talk(sentences, 60.0, pause_s)
    end_s = seconds(window_end(samples[: LONGEST + lookahead(LONGEST)], LONGEST))
    last = [pause for pause in pauses if pause.start_s < LONGEST_S - 0.15][-1]
    assert last.start_s <= end_s <= last.end_s


def test_a_longer_pause_is_worth_a_shorter_window(sentences):
    start, _ = talk(sentences, 26.6, 0.25)
    samples = np.concatenate([start, silence(1.0), sentences[0][:14_000], silence(0.25), *sentences, *sentences])
    assert 26.6 <= seconds(window_end(samples[: LONGEST + lookahead(LONGEST)], LONGEST)) <= 27.6


def test_a_long_pause_fills_the_window_before_it(sentences):
    start, _ = talk(sentences, 20.0, 0.3)
    samples = np.concatenate([start, silence(8.0), *sentences])
    assert seconds(window_end(samples, LONGEST)) == pytest.approx(27.8, abs=0.2)


def test_a_long_stretch_without_speech_is_a_window_of_its_own(sentences):
    samples, _ = talk(sentences, 80.0, 0.3)
    first, second, *_ = cut([np.concatenate([silence(14.0), samples])], LONGEST_S)
    assert speech_activity().spans(first.samples) == ()
    assert 13.6 <= first.duration_s <= 14.0
    assert speech_s(second.samples) > 24


def test_a_short_stretch_without_speech_is_not(sentences):
    samples, _ = talk(sentences, 80.0, 0.3)
    first = next(cut([np.concatenate([silence(5.0), samples])], LONGEST_S))
    assert first.duration_s > 24


@pytest.mark.parametrize("duration_s", [30.05, 33.0, 39.0])
def test_the_end_of_a_recording_is_shared_by_two_windows(sentences, duration_s):
    samples, pauses = talk(sentences, duration_s, 0.3)
    first, second = cut([samples], LONGEST_S)
    assert any(pause.start_s <= first.duration_s <= pause.end_s for pause in pauses)
    assert min(first.duration_s, second.duration_s) > duration_s / 2 - 3


@pytest.mark.parametrize("silence_s", [2.0, 8.0])
def test_speech_that_fits_into_one_window_is_not_shared_by_two(sentences, silence_s):
    samples, _ = talk(sentences, 29.0, 0.3)
    first, second = cut([np.concatenate([samples, silence(silence_s)])], LONGEST_S)
    assert first.duration_s >= 29.0
    assert speech_activity().spans(second.samples) == ()


def test_silence_is_cut_into_full_windows():
    durations_s = [window.duration_s for window in cut([silence(100.0)], LONGEST_S)]
    assert len(durations_s) == 4
    assert min(durations_s) > 9


def test_where_there_is_no_pause_the_cut_is_quiet():
    samples = speak("Seven small boats were waiting all along the wall when we were away in May", words_per_minute=190)
    end = window_end(samples[: 8 * SAMPLE_RATE_HZ // 3], 2 * SAMPLE_RATE_HZ)
    around = np.abs(samples[end - 400 : end + 400]).mean()
    assert SAMPLE_RATE_HZ <= end <= 2 * SAMPLE_RATE_HZ
    assert around < 0.5 * np.abs(samples[SAMPLE_RATE_HZ : 2 * SAMPLE_RATE_HZ]).mean()


@pytest.mark.skipif(not SPEECH.is_dir(), reason=f"recordings of people are not at {SPEECH}")
def test_no_cut_falls_into_what_a_person_says():
    samples = np.concatenate(human_speech()[::6])
    windows = list(cut(np.array_split(samples, 100), LONGEST_S))
    speech = speech_activity().spans(samples, SpanOptions(padding_s=0.0, min_silence_s=0.1))
    pauses = [Span(a.end_s, b.start_s) for a, b in pairwise(speech) if b.start_s - a.end_s >= 0.2]
    in_pauses = 0
    for window, following in pairwise(windows):
        second_half = Span(window.start_s + LONGEST_S / 2, window.start_s + LONGEST_S - 0.1)
        if any(second_half.start_s < pause.start_s and pause.end_s < second_half.end_s for pause in pauses):
            assert not any(span.start_s + 0.04 < following.start_s < span.end_s - 0.04 for span in speech)
            in_pauses += 1
    assert in_pauses >= 0.9 * (len(windows) - 1)
    assert sum(speech_s(window.samples) for window in windows) / len(windows) > 22


@pytest.mark.parametrize("size", [LONGEST + 1, LONGEST + lookahead(LONGEST)])
def test_digital_silence_is_cut_where_the_network_would_cut_it(size):
    """The network is not run on it: gaps between timestamps make hours of it from nothing."""
    zeros = np.zeros(size, np.float32)
    least = zeros.copy()
    least[0] = np.finfo(np.float32).tiny  # of no effect on any probability, but not zero
    assert window_end(zeros, LONGEST) == window_end(least, LONGEST)
