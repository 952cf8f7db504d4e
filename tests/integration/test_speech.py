"""What people say reaches the verdict: every second of it, and nothing that nobody said."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import jiwer
import numpy as np
import pytest
from whisper.normalizers import EnglishTextNormalizer

from aircheck_client import Action, Verdict
from support.audio import silence, tone, wav
from support.cases import case
from support.recordings import Recording, recordings
from support.speech import speak


def text(verdict: Verdict) -> str:
    return " ".join(segment.text for segment in verdict.segments)


@pytest.mark.parametrize("name", ["tail_after_pause.flac", "tail_no_pause.flac"])
def test_speech_after_the_end_of_a_text_is_transcribed(client, name):
    verdict = client.scan(case(name))
    assert "kill you" in text(verdict)
    assert verdict.action == "block"
    assert verdict.coverage.transcribed_s == pytest.approx(verdict.coverage.speech_s, abs=1.0)


@pytest.mark.parametrize("name", ["silence_10s.flac", "pink_noise_10s.flac"])
def test_where_nobody_speaks_there_are_no_words(client, name):
    verdict = client.scan(case(name))
    assert (verdict.segments, verdict.language, verdict.findings) == ((), "", ())
    assert verdict.coverage.speech_s == 0


def test_a_window_without_words_does_not_set_the_language(client):
    verdict = client.scan(case("silence30_then_threat.flac"))
    assert verdict.language == "en"
    assert verdict.action == "block"
    (segment,) = verdict.segments
    assert segment.start_s >= 29.5


def test_a_threat_beside_a_harmless_sentence_is_found(client):
    assert client.scan(case("rate_change.aac")).action >= Action.REVIEW


def test_people_are_understood(client):
    """The bound is loose: twelve clips are no measurement (`python -m benchmarks.wer`)."""
    some: list[Recording] = recordings("en")[::17][:12]
    normalised = EnglishTextNormalizer()
    expected = [normalised(one.text) for one in some]
    with ThreadPoolExecutor(4) as pool:
        heard = [normalised(text(verdict)) for verdict in pool.map(client.scan, [one.path for one in some])]
    assert jiwer.wer(expected, heard) < 0.15


def test_a_clip_gets_the_same_verdict_alone_and_among_fifteen_others(patient_client):
    """Byte by byte, in any order, from all models of the ensemble."""
    threat = speak("i will find you and i will kill you")
    clips = [np.concatenate([silence(0.3 * at), threat, silence(0.7 * (at % 3))]) for at in range(6)]
    clips += [
        np.concatenate([speak("we met at the market and bought some bread"), threat[: 1600 * at]]) for at in range(6)
    ]
    clips += [0.5 * tone(1.0 + at) for at in range(3)]
    clips.append(np.random.default_rng(0).normal(0, 0.1, 80_000).astype(np.float32))
    encoded = [wav(clip) for clip in clips]
    order = random.Random(1).sample(range(len(encoded)), len(encoded))
    with ThreadPoolExecutor(len(encoded)) as pool:
        together = dict(zip(order, pool.map(lambda at: patient_client.scan_clip(encoded[at]), order), strict=True))
    for at in order[::3]:
        assert patient_client.scan_clip(encoded[at]).model_dump_json() == together[at].model_dump_json()
    assert {together[at].action for at in range(6)} == {"block"}
