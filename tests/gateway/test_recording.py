"""A recording to a stream of verdicts, with models that are functions of the window and the language."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from aircheck.gateway import recording as module
from aircheck.gateway.answers import Answer
from aircheck.gateway.recording import CheckWindow, Recording, Terms
from aircheck.policy.decide import decide_window
from aircheck.policy.own import Own
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
    WindowFindings,
    Word,
)

RULES = PackLibrary(ROOT / "server_config" / "policies")["default"].for_context(Context())
WINDOW_S = 30.0


@dataclass(frozen=True)
class Window:
    start_s: float
    duration_s: float
    wav: bytes
    own: Own | None = None


WINDOWS = [Window(WINDOW_S * index, WINDOW_S, bytes([index])) for index in range(5)]
WAVES = [window.wav for window in WINDOWS]


async def decoded(fault: Exception | None = None, after: int = len(WINDOWS)) -> AsyncIterator[Window]:
    for window in WINDOWS[:after]:
        await asyncio.sleep(0)
        yield window
    if fault:
        raise fault


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
    return decide_window(
        WindowFindings(start_s=0, duration_s=30.0, transcript=transcript, text_findings=text, acoustic_findings=sound),
        Context(),
        RULES,
    )


def models(*speeches: Speech | None) -> CheckWindow:
    """Window n holds speeches[n]; the last is repeated, and None is silence."""

    async def check(wave: bytes, language: str, own: Own | None) -> Answer:
        speech = speeches[min(WAVES.index(wave), len(speeches) - 1)]
        return Answer(answer(speech or ("cy", 0.4, 1.0), language, has_words=speech is not None))

    return check


def run(check: CheckWindow, parallel: int = 4, language: str = "", undecoded_s: float = 0.0) -> list[Verdict]:
    async def scan() -> list[Verdict]:
        recording = Recording(check, Terms(parallel, RULES.coverage, language))
        windows = [answer.verdict async for answer in recording.windows(decoded())]
        return [*windows, recording.verdict(undecoded_s, ())]

    return asyncio.run(scan())


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

    def slowed(seed: int) -> CheckWindow:
        waits = random.Random(seed)

        async def check(wave: bytes, language: str, own: Own | None) -> Answer:
            await asyncio.sleep(waits.random() / 50)
            return await speeches(wave, language, own)

        return check

    alone = [verdict.model_dump_json() for verdict in run(speeches, parallel=1)]
    for seed in range(4):
        assert [verdict.model_dump_json() for verdict in run(slowed(seed), parallel=8)] == alone


def test_a_window_is_sent_again_only_if_its_language_changes() -> None:
    sent: Counter[bytes] = Counter()
    check = models(ENGLISH)

    async def counted(wave: bytes, language: str, own: Own | None) -> Answer:
        sent[wave] += 1
        return await check(wave, language, own)

    run(counted)
    assert set(sent.values()) == {1}


def test_a_language_that_is_set_is_kept() -> None:
    *windows, whole = run(models(SPANISH), language="en")
    assert {window.language for window in (*windows, whole)} == {"en"}


def test_words_are_in_the_recordings_time() -> None:
    *windows, whole = run(models(ENGLISH))
    assert [segment.words[0].start_s for segment in whole.segments] == [window.start_s + 1.0 for window in windows]
    assert windows[1].segments[0].words[0].end_s == windows[1].start_s + 1.5


def test_no_more_windows_are_in_flight_than_told() -> None:
    under_way, most = 0, 0
    check = models(ENGLISH)

    async def counted(wave: bytes, language: str, own: Own | None) -> Answer:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.001)
        under_way -= 1
        return await check(wave, language, own)

    run(counted, parallel=3)
    assert most == 3


def test_a_window_that_takes_long_does_not_hold_up_all_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AHEAD", 2)
    check = models(ENGLISH)
    begun = list[bytes]()
    slow_may_end = asyncio.Event()

    async def second_is_slow(wave: bytes, language: str, own: Own | None) -> Answer:
        begun.append(wave)
        if wave == WAVES[1]:
            await slow_may_end.wait()
        if len(begun) == len(WAVES):
            slow_may_end.set()
        return await check(wave, language, own)

    run(second_is_slow, parallel=2)
    assert begun == WAVES


def test_the_first_windows_are_few_so_that_their_verdicts_come_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_PARALLEL", 2)
    check = models(ENGLISH)
    under_way = 0
    seen = list[int]()

    async def counted(wave: bytes, language: str, own: Own | None) -> Answer:
        nonlocal under_way
        under_way += 1
        await asyncio.sleep(0.01)
        seen.append(under_way)
        under_way -= 1
        return await check(wave, language, own)

    run(counted, parallel=8)
    assert seen[0] == 2
    assert max(seen) > 2


def test_live_audio_is_answered_at_once_and_no_window_twice() -> None:
    sent: Counter[bytes] = Counter()
    check = models(("la", 0.4, 3.0), None, ENGLISH, SPANISH)

    async def counted(wave: bytes, language: str, own: Own | None) -> Answer:
        sent[wave] += 1
        return await check(wave, language, own)

    async def scan() -> list[str]:
        recording = Recording(counted, Terms(1, RULES.coverage, is_live=True))
        return [answer.verdict.language async for answer in recording.windows(decoded())]

    assert asyncio.run(scan()) == ["la", "", "en", "en", "en"]
    assert set(sent.values()) == {1}


async def until_fault(recording: Recording, windows: AsyncIterator[Window]) -> tuple[int, str]:
    """How many windows were answered before the fault, and what it says."""
    n_windows = 0
    try:
        async for _ in recording.windows(windows):
            n_windows += 1
    except RuntimeError as error:
        return n_windows, str(error)
    raise AssertionError("nothing failed")


def test_what_was_found_before_a_fault_is_given_first() -> None:
    async def scan() -> tuple[int, str, float]:
        recording = Recording(models(ENGLISH), Terms(4, RULES.coverage))
        n_windows, fault = await until_fault(recording, decoded(RuntimeError("the disk is gone"), after=3))
        return n_windows, fault, recording.verdict(0.0, ()).duration_s

    assert asyncio.run(scan()) == (3, "the disk is gone", 90.0)


def test_a_window_that_the_models_fail_on_costs_no_window_before_it() -> None:
    good = models(None, None)  # no language is known yet, so these windows wait for a decision

    async def check(wave: bytes, language: str, own: Own | None) -> Answer:
        if wave == WAVES[2]:
            raise RuntimeError("failed")
        return await good(wave, language, own)

    assert asyncio.run(until_fault(Recording(check, Terms(4, RULES.coverage)), decoded())) == (2, "failed")


def test_who_stops_listening_ends_what_is_in_flight() -> None:
    check = models(ENGLISH)

    async def slow(wave: bytes, language: str, own: Own | None) -> Answer:
        await asyncio.sleep(0 if wave == WAVES[0] else 3600)
        return await check(wave, language, own)

    async def scan() -> set[asyncio.Task[object]]:
        verdicts = Recording(slow, Terms(3, RULES.coverage)).windows(decoded())
        await anext(verdicts)
        assert len(asyncio.all_tasks()) > 1
        await verdicts.aclose()
        return asyncio.all_tasks() - {asyncio.current_task()}

    assert asyncio.run(scan()) == set()


def test_what_could_not_be_decoded_is_reviewed() -> None:
    whole = run(models(ENGLISH), undecoded_s=4.0)[-1]
    assert whole.coverage.undecoded_s == 4.0
    assert whole.action is Action.REVIEW
    assert [item.kind for item in whole.unchecked] == ["undecoded"]
