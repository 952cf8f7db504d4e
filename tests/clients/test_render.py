"""Verdicts as people see them in a terminal."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from aircheck_client.render import timeline
from aircheck_client.schema import Action, Coverage, Evidence, Finding, Segment, Severity, Unchecked, Verdict


def verdict(**fields: Any) -> Verdict:
    given = {
        "scope": "episode",
        "duration_s": 75.0,
        "score": 0.0,
        "severity": Severity.NONE,
        "action": Action.ALLOW,
        "reason": "nothing found (default v3)",
        "language": "en",
        "policy_pack": "default",
        "policy_version": "3",
        "policy_sha256": "0" * 64,
        "server_version": "0.1.0",
        "models": (),
    }
    return Verdict(**(given | fields))


def shown(shown_verdict: Verdict) -> str:
    console = Console(file=io.StringIO(), width=200)
    console.print(timeline(shown_verdict))
    return console.file.getvalue()  # type: ignore[attr-defined]  # it is the StringIO above


def segment(text: str, language: str) -> Segment:
    return Segment(
        start_s=0.0,
        end_s=1.0,
        text=text,
        language=language,
        avg_logprob=-0.1,
        no_speech_prob=0.0,
        compression_ratio=1.0,
    )


def test_the_language_is_shown_and_full_coverage_is_not() -> None:
    text = shown(verdict(coverage=Coverage(speech_s=60.0, transcribed_s=59.7, unread_s=0.3)))
    assert "01:15 of audio in en, policy default v3" in text
    assert "not fully checked" not in text


def test_what_could_not_be_checked_is_one_line() -> None:
    gap = Unchecked(kind="unclassified", start_s=0, end_s=9, seconds=9, language="de", action=Action.REVIEW)
    coverage = Coverage(speech_s=60.0, transcribed_s=48.0, unread_s=15.0, undecoded_s=3.0, unclassified_s=9.0)
    text = shown(verdict(coverage=coverage, unchecked=(gap,)))
    assert (
        "not fully checked: 12 s of speech could not be transcribed; 3 s of audio could not be decoded; 9 s are in a "
        "language that the text classifier does not know (de)"
    ) in text


def test_a_segment_in_another_language_says_so() -> None:
    text = shown(verdict(segments=(segment("good morning", "en"), segment("guten Morgen", "de"))))
    assert "[de] guten Morgen" in text
    assert "[en]" not in text


def test_a_score_never_reads_higher_than_it_is() -> None:
    evidence = Evidence(
        start_s=0.0,
        end_s=1.0,
        lead_start_s=0.0,
        lead_end_s=1.0,
        modality="acoustic",
        event="siren",
        score=0.849,
        threshold=0.7,
        severity=Severity.LOW,
        action=Action.ALLOW,
        model="sound",
        model_version="1",
    )
    finding = Finding(
        category="siren", score=0.849, severity=Severity.LOW, action=Action.ALLOW, reason="", evidence=(evidence,)
    )
    text = shown(verdict(findings=(finding,)))
    assert "0.84" in text
    assert "0.85" not in text
