"""Findings that were kept: what a scan was decided by, and that it can be decided again without its audio."""

from __future__ import annotations

import pytest

from aircheck.policy.fold import fold, shift
from aircheck.policy.kept import decide_recording
from aircheck.policy.packs import load_pack
from aircheck.settings import ROOT
from aircheck_client import Context, InvalidAudioError
from aircheck_client.messages import Options
from support.audio import wav
from support.speech import speak

THREAT = "I will find you and I will kill you. Stay away from my house. I hate you. "


def test_findings_of_each_window_decide_as_the_scan_did(client):
    stream = client.stream(wav(speak(THREAT * 6)), Context(market="SE"), findings=True)
    *windows, whole = stream
    found = stream.about.findings
    assert [item.start_s for item in found] == [window.start_s for window in windows]
    assert [item.coverage for item in found] == [window.coverage for window in windows]
    assert len(found) > 1
    again = [
        shift(
            client.decide(
                item.transcript,
                item.text_findings,
                item.acoustic_findings,
                item.duration_s,
                Context(market="SE"),
                warnings=item.warnings,
            ),
            item.start_s,
        )
        for item in found
    ]
    decided = {"findings", "action", "severity", "score", "unchecked", "coverage", "segments", "reason"}
    for before, after in zip(windows, again, strict=True):
        assert after.model_dump(include=decided) == before.model_dump(include=decided)
    folded = fold(again, whole.duration_s)
    assert folded.model_dump(include=decided) == whole.model_dump(include=decided)
    assert whole.findings
    context = Context(market="SE")
    rules = load_pack(ROOT / "server_config" / "policies" / "default.yaml").for_context(context)
    kept = decide_recording(found, whole.duration_s, context, rules)
    assert kept.model_dump(include=decided) == whole.model_dump(include=decided)


def test_a_recording_is_decided_again_for_another_context_without_its_audio(client):
    audio, given = wav(speak(THREAT * 6)), Context(content_type="audiobook", market="SE", audience="children")
    stream = client.stream(audio, Context(), findings=True)
    (*_, whole) = stream
    again = client.decide_recording(stream.about.findings, whole.duration_s, given, warnings=whole.warnings)
    assert again == client.scan(audio, given)


def test_a_recording_that_cannot_be_decided_is_refused(client):
    stream = client.stream(wav(speak("good morning")), findings=True)
    list(stream)
    for duration_s in (-1.0, float("nan")):
        with pytest.raises(InvalidAudioError, match="duration_s"):
            client.decide_recording(stream.about.findings, duration_s)
    with pytest.raises(InvalidAudioError, match="no_such"):
        client.decide_recording(stream.about.findings, 1.0, Context(policy_pack="no_such"))
    with pytest.raises(ValueError, match="windows: are none"):
        client.decide_recording([], 1.0)


def test_findings_come_where_they_are_asked_for_alone(client):
    assert not Options().findings
    stream = client.stream(wav(speak("good morning")))
    list(stream)
    assert stream.about.findings == []
