"""The sample episode: what the server finds in it against what its script says is there."""

import json
from pathlib import Path

import pytest

from aircheck.evaluation.words import errors
from aircheck_client import Action
from training.text_safety.lines import read_train

SAMPLES = Path(__file__).parents[2] / "samples"
TRUTH = json.loads((SAMPLES / "episode.truth.json").read_text())
HARMFUL = [line for line in TRUTH["lines"] if line.get("labels")]
SLACK_S = 1.0


@pytest.fixture(scope="module", params=["episode.mp3", "episode.m4a"])
def verdict(request, client):
    return client.scan(SAMPLES / request.param)


def overlaps(evidence, line):
    return evidence.start_s < line["end_s"] + SLACK_S and line["start_s"] - SLACK_S < evidence.end_s


def test_the_whole_episode_is_covered(verdict):
    assert verdict.duration_s == pytest.approx(TRUTH["duration_s"], abs=0.2)
    assert not verdict.warnings


def test_the_transcript_can_be_read(verdict):
    """At most one word in ten is wrong."""
    said = " ".join(line["text"] for line in TRUTH["lines"] if "text" in line)
    heard = " ".join(segment.text for segment in verdict.segments)
    assert errors(said, heard, "en").rate <= 0.1, heard


def test_the_gunshot_is_found_where_it_is(verdict):
    (shot,) = [line for line in TRUTH["lines"] if line.get("sound") == "gunshot"]
    (finding,) = [finding for finding in verdict.findings if finding.category == "gunshot"]
    assert any(overlaps(evidence, shot) for evidence in finding.evidence)


def test_all_harmful_passages_are_found_in_their_category_and_place(verdict):
    found = [
        line
        for line in HARMFUL
        if any(
            overlaps(evidence, line)
            for finding in verdict.findings
            if finding.category in line["labels"]
            for evidence in finding.evidence
        )
    ]
    assert found == HARMFUL, [line["text"] for line in HARMFUL if line not in found]


def test_benign_passages_are_not_flagged(verdict):
    """Evidence lies on a harmful passage or sound, or within SLACK_S of one."""
    marked = [line for line in TRUTH["lines"] if line.get("labels") or line.get("sound") == "gunshot"]
    stray = [
        (finding.category, evidence.quote or evidence.event)
        for finding in verdict.findings
        for evidence in finding.evidence
        if not any(overlaps(evidence, line) for line in marked)
    ]
    assert not stray


def test_the_decision_follows_from_the_most_severe_finding(verdict):
    assert verdict.action == max(finding.action for finding in verdict.findings)
    assert verdict.action >= Action.REVIEW
    assert verdict.reason


def test_no_line_of_the_sample_was_trained_on():
    training = Path(__file__).parents[2] / "training"
    files = training.glob("text_safety/data/**/*")
    trained = "\n".join(plain(line) for path in files if path.is_file() for line in path.read_text().splitlines())
    trained += "\n".join(plain(line.text) for line in read_train())
    for line in TRUTH["lines"]:
        if "text" in line:
            assert plain(line["text"]) not in trained, line["text"]


def plain(text):
    return " ".join("".join(c if c.isalnum() or c == "'" else " " for c in text.lower()).split())
