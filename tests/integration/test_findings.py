"""Findings that were kept: what a scan was decided by, and that it can be decided again without its audio."""

from __future__ import annotations

from aircheck.policy.fold import fold, shift
from aircheck.policy.packs import load_pack
from aircheck.rescore.deciding import verdict_of
from aircheck.settings import ROOT
from aircheck_client import Context
from aircheck_client.messages import Options
from support.audio import wav
from support.speech import speak

THREAT = "I will find you and I will kill you. Stay away from my house. I hate you. "


def test_findings_of_each_window_decide_as_the_scan_did(client):
    stream = client.stream(wav(speak(THREAT * 9)), Context(market="SE"), findings=True)
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
    kept = verdict_of(found, whole.duration_s, context, rules)
    assert kept.model_dump(include=decided) == whole.model_dump(include=decided)


def test_findings_come_where_they_are_asked_for_alone(client):
    assert not Options().findings
    stream = client.stream(wav(speak("good morning")))
    list(stream)
    assert stream.about.findings == []
