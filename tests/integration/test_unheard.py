"""What a real server says of audio that it could not check, and of the language."""

from __future__ import annotations

import numpy as np
import pytest

from aircheck_client import Action
from support.audio import encode, silence, tone, wav
from support.cases import case
from support.speech import speak


@pytest.fixture(scope="module")
def german() -> np.ndarray:
    line = "Guten Abend und herzlich willkommen. Heute sprechen wir über das Wetter in den Bergen und im Süden."
    return speak(line, voice="de", words_per_minute=130)


@pytest.fixture(scope="module")
def finnish() -> np.ndarray:
    return speak(
        "Hyvää iltaa ja tervetuloa. Tänään puhumme vuorten ja etelän säästä.", voice="fi", words_per_minute=130
    )


@pytest.mark.parametrize("through", ["scan", "scan_clip"])
def test_a_language_that_the_classifier_does_not_know_is_reviewed(client, finnish, through):
    verdict = getattr(client, through)(wav(finnish))
    assert verdict.language == "fi"
    assert verdict.action >= Action.REVIEW
    assert [(item.kind, item.language) for item in verdict.unchecked] == [("unclassified", "fi")]
    assert verdict.coverage.unclassified_s > 3
    assert any("'fi'" in warning for warning in verdict.warnings)


@pytest.mark.parametrize("through", ["scan", "scan_clip"])
def test_a_clip_so_short_that_whisper_hears_nothing_is_reviewed(client, through):
    verdict = getattr(client, through)(wav(speak("Я найду тебя и убью тебя.", voice="ru")))
    assert verdict.duration_s < 1.5
    assert verdict.segments == ()
    assert verdict.action is Action.REVIEW
    assert [item.kind for item in verdict.unchecked] == ["untranscribed"]


def test_the_language_is_that_of_the_only_window_with_words(client):
    *windows, whole = client.stream(case("silence30_then_threat.flac"))
    assert whole.language == "en"
    assert {window.language for window in windows if not window.segments} <= {""}


def test_a_silent_first_window_sets_no_language(client, german):
    whole = client.scan(wav(np.concatenate([silence(31.0), german])))
    assert whole.language == "de"


def test_a_missing_end_is_counted_and_reviewed(client):
    whole = client.scan(encode(tone(20.0), "flac")[:-100_000])
    assert whole.coverage.undecoded_s > 1
    assert whole.action is Action.REVIEW


def test_a_clean_verdict_names_what_it_was_made_with(client):
    whole = client.scan(wav(tone(1.0)))
    assert whole.action is Action.ALLOW
    roles = [model.role for model in whole.models]
    assert roles == ["speech_activity", "acoustic_safety", "transcription", "text_safety", "profanity"]
    assert all(model.name and model.version for model in whole.models)
    assert len(whole.policy_sha256) == 64
    assert whole.server_version
