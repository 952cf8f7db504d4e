"""Verdicts as captions, chapters and tables."""

from __future__ import annotations

import csv
import io
import json
import re

from aircheck_client import Action, Evidence, Finding, Segment, Severity, Verdict
from aircheck_client.formats import LINE_CHARACTERS, chapters, csv_header, csv_rows, subrip, webvtt


def evidence(start_s: float, end_s: float, quote: str) -> Evidence:
    return Evidence(
        start_s=start_s,
        end_s=end_s,
        lead_start_s=start_s,
        lead_end_s=end_s,
        modality="text",
        quote=quote,
        score=0.9,
        threshold=0.5,
        severity=Severity.HIGH,
        action=Action.BLOCK,
        model="m",
        model_version="1",
    )


def segment(start_s: float, end_s: float, text: str) -> Segment:
    return Segment(start_s=start_s, end_s=end_s, text=text, avg_logprob=-0.1, no_speech_prob=0.0, compression_ratio=1.0)


PLACES = (evidence(3661.5, 3663.25, "i will find you"), evidence(10.0, 12.0, '=HYPERLINK("x")'))
VERDICT = Verdict(
    scope="episode",
    duration_s=4000.0,
    score=0.9,
    severity=Severity.HIGH,
    action=Action.BLOCK,
    reason="block: -->\nno",
    findings=(
        Finding(
            category="violence_threat",
            score=0.9,
            severity=Severity.HIGH,
            action=Action.BLOCK,
            reason="r",
            evidence=PLACES,
        ),
    ),
    segments=(
        segment(10.0, 12.0, "a <b> & --> c"),
        segment(3661.5, 3663.25, "i will find you " + "and then we shall see what comes of it " * 4),
    ),
    policy_pack="default",
    policy_version="3",
    policy_sha256="",
    server_version="1",
    models=(),
)
CLEAN = VERDICT.model_copy(update={"findings": (), "segments": ()})


def test_webvtt_has_a_cue_for_each_segment_in_short_lines():
    text = webvtt(VERDICT, "episode.mp3")
    assert text.startswith("WEBVTT\n\nNOTE ")
    assert re.findall(r"^(\S+) --> (\S+)$", text, re.M) == [
        ("00:00:10.000", "00:00:12.000"),
        ("01:01:01.500", "01:01:03.250"),
    ]
    assert "a &lt;b&gt; &amp; --&gt; c" in text
    assert "[violence_threat: block] i will find you" in text
    assert max(map(len, text.splitlines()[3:])) <= LINE_CHARACTERS
    assert webvtt(CLEAN, "x").count("-->") == 0


def test_subrip_numbers_its_cues_and_has_commas():
    text = subrip(VERDICT, "episode.mp3")
    assert re.findall(r"^(\d+)\n(\S+) --> (\S+)$", text, re.M) == [
        ("1", "00:00:10,000", "00:00:12,000"),
        ("2", "01:01:01,500", "01:01:03,250"),
    ]
    assert subrip(CLEAN, "x") == ""


def test_chapters_are_in_order_of_time_one_a_place():
    found = json.loads(chapters(VERDICT, "episode.mp3"))
    assert found["version"] == "1.2.0"
    assert [(one["startTime"], one["endTime"]) for one in found["chapters"]] == [(10.0, 12.0), (3661.5, 3663.25)]
    assert found["chapters"][0]["title"] == "violence_threat: high, block"


def test_csv_has_a_row_for_each_place_and_no_formulas():
    rows = list(csv.DictReader(io.StringIO(csv_header() + csv_rows(VERDICT, "-episode.mp3"))))
    assert [row["start_s"] for row in rows] == ["3661.500", "10.000"]
    assert rows[0]["quote_or_event"] == "i will find you"
    assert rows[1]["quote_or_event"] == '\'=HYPERLINK("x")'
    assert rows[0]["file"] == "'-episode.mp3"
    assert csv_rows(CLEAN, "x") == ""
