"""A recording to a stream of verdicts, with models that are functions of the window and the language."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from aircheck import episode
from aircheck.episode import BusyError, Terms, scan
from aircheck.policy.decide import decide_window
from aircheck.policy.packs import PackLibrary
from aircheck.settings import ROOT
from aircheck_client.schema import (
    AcousticFindings,
    Action,
    Context,
    Segment,
    Span,
    TextFindings,
    Transcript,
    Verdict,
    Word,
)
from preprocessing.container import Limits
from preprocessing.windows import Episode
from support.audio import encode, wav

LIMITS = Limits(max_bytes=2**26, max_duration_s=3600, max_channels=8, max_sample_rate_hz=192_000)
RULES = PackLibrary(ROOT / "server_config" / "policies")["default"].for_context(Context())
WINDOW_S = 30.0

noise = np.random.default_rng(0).standard_normal(150 * 16_000).astype(np.float32)
RECORDING = wav(0.1 * np.clip(noise, -3, 3))  # no window like another
WAVES = [window.wav() for window in Episode(RECORDING, LIMITS).windows(WINDOW_S)]

Speech = tuple[str, float, float]  # language, its probability, seconds of speech


def answer(speech: Speech, language: str, has_words: bool = True) -> Verdict:
    """The verdict on a window in which somebody speaks from its start on."""
    detected, probability, speech_s = speech
    used = language or detected
    word = Word(text="words", start_s=1.0, end_s=1.5, probability=0.9)
    segment = Segment(
        start_s=0.0,
        end_s=speech_s,
        text=f"words in {used}",
        avg_logprob=-0.2,
        no_speech_prob=0.01,
        compression_ratio=1.1,
        words=(word,),
    )
    transcript = Transcript(
        model="ear",
        model_version="1",
        language=used if has_words else "",
        detected_language=detected,
        detected_probability=probability,
        speech=(Span(start_s=0.0, end_s=speech_s),) if has_words else (),
        segments=(segment,) if has_words else (),
    )
    text, sound = TextFindings(model="text", model_version="1"), AcousticFindings(model="sound", model_version="1")
    return decide_window(transcript, text, sound, 30.0, Context(), RULES)


def models(*speeches: Speech | None) -> Callable[[bytes, str], Verdict]:
    """Window n holds speeches[n]; the last is repeated, and None is silence."""

    def check(wave: bytes, language: str) -> Verdict:
        speech = speeches[min(WAVES.index(wave), len(speeches) - 1)]
        return answer(speech or ("cy", 0.4, 1.0), language, has_words=speech is not None)

    return check


def run(check: Callable[[bytes, str], Verdict], parallel: int = 4, language: str = "") -> list[Verdict]:
    terms = Terms(LIMITS, WINDOW_S, parallel, RULES.coverage, language)
    with ThreadPoolExecutor(parallel) as pool:
        return list(scan(RECORDING, check, pool, terms))


ENGLISH, SPANISH = ("en", 0.95, 20.0), ("es", 0.95, 20.0)


def test_the_only_window_with_words_sets_the_language() -> None:
    *windows, whole = run(models(None, ("en", 0.7, 3.0), None))
    assert whole.language == "en"
    assert [window.language for window in windows] == ["", "en"] + [""] * (len(windows) - 2)


def test_a_short_first_window_is_transcribed_again_in_the_language_that_follows() -> None:
    first, *_, whole = run(models(("la", 0.4, 3.0), ENGLISH))
    assert (first.language, first.detected_language, whole.language) == ("en", "la", "en")
    assert first.segments[0].text == "words in en"


def test_a_lasting_change_is_followed_from_its_first_window_on() -> None:
    *windows, whole = run(models(ENGLISH, SPANISH))
    assert [window.language for window in windows] == ["en"] + ["es"] * (len(windows) - 1)
    assert whole.language == "es"
    assert not whole.warnings


def test_one_window_full_of_another_language_is_transcribed_in_it() -> None:
    *windows, whole = run(models(ENGLISH, SPANISH, ENGLISH))
    assert [window.language for window in windows[:3]] == ["en", "es", "en"]
    assert (whole.language, whole.warnings) == ("en", ())


def test_one_window_that_may_be_in_another_language_is_named_in_a_warning() -> None:
    *windows, whole = run(models(ENGLISH, ("es", 0.85, 20.0), ENGLISH))
    assert {window.language for window in windows} == {"en"}
    (warning,) = whole.warnings
    assert "seems to be in 'es' (0.85), but was transcribed in 'en'" in warning
    assert windows[1].warnings == (warning,)


def test_the_verdicts_depend_neither_on_the_load_nor_on_what_is_in_flight() -> None:
    speeches = models(("la", 0.4, 3.0), None, ENGLISH, SPANISH, SPANISH, ENGLISH)

    def slowed(seed: int) -> Callable[[bytes, str], Verdict]:
        waits = random.Random(seed)

        def check(wave: bytes, language: str) -> Verdict:
            time.sleep(waits.random() / 50)
            return speeches(wave, language)

        return check

    alone = [verdict.model_dump_json() for verdict in run(speeches, parallel=1)]
    for seed in range(4):
        assert [verdict.model_dump_json() for verdict in run(slowed(seed), parallel=8)] == alone


def test_a_window_is_sent_again_only_if_its_language_changes() -> None:
    sent: Counter[bytes] = Counter()
    check = models(ENGLISH)

    def counted(wave: bytes, language: str) -> Verdict:
        sent[wave] += 1
        return check(wave, language)

    run(counted)
    assert set(sent.values()) == {1}


def test_a_language_that_is_set_is_kept() -> None:
    *windows, whole = run(models(SPANISH), language="en")
    assert {window.language for window in (*windows, whole)} == {"en"}


def test_words_are_in_the_recordings_time() -> None:
    *windows, whole = run(models(ENGLISH))
    assert [segment.words[0].start_s for segment in whole.segments] == [window.start_s + 1.0 for window in windows]
    assert windows[1].segments[0].words[0].end_s == windows[1].start_s + 1.5


def test_a_window_that_is_refused_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(episode, "FIRST_WAIT_S", 0.001)
    tries: Counter[bytes] = Counter()
    check = models(ENGLISH)

    def busy(wave: bytes, language: str) -> Verdict:
        tries[wave] += 1
        if tries[wave] <= 3:
            raise BusyError("256 windows wait")
        return check(wave, language)

    assert run(busy)[-1].scope == "episode"
    assert set(tries.values()) == {4}


def test_a_server_that_stays_busy_ends_the_episode_in_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(episode, "PATIENCE_S", 0.3)

    def busy(wave: bytes, language: str) -> Verdict:
        raise BusyError("256 windows wait")

    with pytest.raises(BusyError, match="256 windows wait"):
        run(busy)


def test_what_could_not_be_decoded_is_reviewed() -> None:
    damaged = bytearray(encode(0.1 * noise[: 40 * 16_000], "mp3"))
    middle = len(damaged) // 2
    damaged[middle : middle + len(damaged) // 10] = bytes(len(damaged) // 10)  # about 4 s of packets

    def check(wave: bytes, language: str) -> Verdict:
        return answer(ENGLISH, language)

    with ThreadPoolExecutor(2) as pool:
        *_, whole = scan(bytes(damaged), check, pool, Terms(LIMITS, WINDOW_S, 2, RULES.coverage))
    assert whole.coverage.undecoded_s > 1.0
    assert whole.action is Action.REVIEW
    assert [item.kind for item in whole.unchecked] == ["undecoded"]
