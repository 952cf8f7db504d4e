"""Recordings after public bug reports of people who transcribe, moderate or publish audio, through a real server.

What the decoders make of them is in tests/preprocessing/test_clip.py; how their words are heard, in test_speech.py.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from aircheck_client import Action, AircheckError, InvalidAudioError, Verdict
from aircheck_client.schema import AcousticFindings, Segment, TextFindings, Transcript
from support.cases import CASES, case

BLOCKED = {  # of each: seconds
    "ape_tail20k.mp3": 2.51,
    "dai_22m_44s.mp3": 13.58,
    "dai_44s_22m.mp3": 13.58,
    "mp3_tail_garbage.mp3": 2.51,
    "wav_7fffff00.wav": 2.5,
    "wav_arecord_80000000.wav": 2.5,
    "wav_espeak_stdout.wav": 2.5,
    "wav_ffffff00.wav": 2.5,
    "wav_size0.wav": 2.5,
}
WARNED = {  # of each: the action, words of its only warning
    "antiphase.mp3": ("block", "opposite phase"),
    "antiphase.wav": ("block", "opposite phase"),
    "float_one_nan.wav": ("block", "no numbers (NaN, infinite) were taken as silence: at 1.88 s"),
    "track2default.m4a": ("block", "track 1 of 2 was not checked"),
    "track2default.mka": ("block", "track 1 of 2 was not checked"),
    "wav_short_claim.wav": ("review", "63860 bytes follow the 16000 bytes of audio that the WAV header states"),
}
REFUSED = {
    "crash_bad.mp3": "not a known audio file (looks like an HTML page)",
    "drm.m4a": "encrypted (CENC)",
    "moov_missing.m4a": "incomplete: no moov atom",
}


@pytest.fixture(scope="module")
def answers(client):
    """What is answered on each recording, by the verb: a verdict or an error."""

    def ask(call):
        verb, name = call
        try:
            return getattr(client, verb)(case(name))
        except AircheckError as error:
            return error

    calls = [(verb, name) for name in (*BLOCKED, *REFUSED) for verb in ("scan", "scan_clip")]
    calls += [("scan", name) for name in WARNED]
    with ThreadPoolExecutor(4) as pool:
        return dict(zip(calls, pool.map(ask, calls), strict=True))


@pytest.mark.parametrize("verb", ["scan", "scan_clip"])
@pytest.mark.parametrize("name", BLOCKED)
def test_recordings_as_programs_really_write_them_are_heard_without_a_warning(answers, verb, name):
    verdict = answers[verb, name]
    assert isinstance(verdict, Verdict), verdict
    assert verdict.duration_s == pytest.approx(BLOCKED[name], abs=0.02)
    assert (verdict.action, verdict.warnings) == (Action.BLOCK, ())


@pytest.mark.parametrize("name", WARNED)
def test_what_is_unheard_is_in_the_warnings_and_the_rest_is_decided(answers, name):
    action, words = WARNED[name]
    verdict = answers["scan", name]
    assert isinstance(verdict, Verdict), verdict
    (warning,) = verdict.warnings
    assert words in warning
    assert verdict.action == action


@pytest.mark.parametrize("verb", ["scan", "scan_clip"])
@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_heard_is_refused_by_its_fault(answers, verb, name):
    error = answers[verb, name]
    assert isinstance(error, InvalidAudioError)
    assert REFUSED[name] in str(error)


def test_every_recording_is_in_a_test():
    """Beside those above: the ones in test_speech.py and test_unheard.py; test_cli.py makes its own good and bad."""
    case("crash_ok.wav")
    elsewhere = {
        "crash_ok.wav",
        "pink_noise_10s.flac",
        "rate_change.aac",
        "silence30_then_threat.flac",
        "silence_10s.flac",
        "tail_after_pause.flac",
        "tail_no_pause.flac",
    }
    assert {path.name for path in CASES.iterdir()} - {"README.md"} == {*BLOCKED, *WARNED, *REFUSED} | elsewhere


@pytest.mark.parametrize(
    ("language", "line"),
    [
        ("de", "Ich werde dich finden und ich werde dich töten."),
        ("es", "Te voy a encontrar y te voy a matar."),
        ("fr", "Je vais te trouver et je vais te tuer."),
        ("ja", "お前を見つけて、お前を殺す。"),
        ("ru", "Я найду тебя и убью тебя."),
    ],
)
def test_a_threat_in_another_language_is_classified_or_reported_as_unclassified(client, models, language, line):
    said = Segment(
        start_s=0, end_s=3, text=line, language=language, avg_logprob=-0.2, no_speech_prob=0, compression_ratio=1
    )
    transcript = Transcript(model="w", model_version="1", language=language, segments=(said,))
    found = models("text_safety", TRANSCRIPT=[transcript.model_dump_json()])["TEXT_FINDINGS"].flat[0]
    sounds = AcousticFindings(model="a", model_version="1")
    verdict = client.decide(transcript, TextFindings.model_validate_json(found), sounds, 3.0)
    assert verdict.action >= Action.REVIEW
    if language in client.info().languages:
        assert "violence_threat" in [finding.category for finding in verdict.findings]
    else:
        assert [(item.kind, item.language) for item in verdict.unchecked] == [("unclassified", language)]
        assert any(f"'{language}'" in warning for warning in verdict.warnings)
