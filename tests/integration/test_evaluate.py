"""The committed set and a user's manifest through a real server, and one model alone beside it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

from aircheck.evaluation.cli import evaluate, thresholds
from aircheck.evaluation.items import COMMITTED_SET, Item, Kind
from aircheck.evaluation.readers import read_manifest as read
from aircheck.evaluation.results import RESULTS, ResultLog
from aircheck.evaluation.scorers import load
from aircheck.evaluation.session import NUMBERS, PAGE
from aircheck.policy.packs import load_pack
from aircheck.settings import ROOT, Settings
from support.evaluate import run

GATE = ROOT / "server_config" / "quality_gate.yaml"
SAMPLE = ROOT / "samples" / "episode.mp3"
THREAT = "i will find you and i will kill you"


@pytest.fixture(scope="module")
def committed(server, tmp_path_factory):
    """The committed set, scored once: the folder, the exit code and what was printed."""
    out = tmp_path_factory.mktemp("committed")
    return out, *run(evaluate, "--url", server.url, "--gate", GATE, "--out", out)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A manifest with an episode of several windows, texts, and two items that cannot be scored."""
    folder = tmp_path_factory.mktemp("small")
    shutil.copy(SAMPLE, folder / "episode.mp3")
    (folder / "bad.mp3").write_bytes(b"not audio at all " * 100)
    items = [
        {"id": "episode", "audio": "episode.mp3", "transcript": "today", "labels": [{"category": "hate"}]},
        {"id": "threat", "text": THREAT, "labels": [{"category": "violence_threat"}]},
        {"id": "film", "text": "we shoot the film on friday", "slices": {"kind": "hard negative"}},
        {"id": "bad", "audio": "bad.mp3", "transcript": "never"},
        {"id": "missing", "audio": "missing.mp3", "transcript": "never"},
    ]
    (folder / "small.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    return folder / "small.jsonl"


@pytest.fixture(scope="module")
def small_run(server, small, tmp_path_factory):
    """The manifest, scored: its results by id, its numbers, and what was printed."""
    out = tmp_path_factory.mktemp("run")
    code, said = run(evaluate, small, "--url", server.url, "--out", out)
    assert code == 0, said
    conditions = json.loads((out / RESULTS).read_text().partition("\n")[0])
    items = read(small)
    with ResultLog(out, conditions) as log:
        results = dict(zip((item.id for item in items), log.of(items), strict=True))
    return results, json.loads((out / NUMBERS).read_text()), said


def test_the_committed_set_keeps_the_committed_bounds(committed):
    out, code, said = committed
    assert code == 0, said
    report = json.loads((out / NUMBERS).read_text())
    assert report["figures"]["errors"] == {**report["figures"]["errors"], "value": 0.0, "n": len(read(COMMITTED_SET))}
    assert "bounds held" in said
    assert {"transcription", "text_safety", "acoustic_safety", "pack", "server"} <= set(report["conditions"])
    assert (out / PAGE).read_text().startswith("<!doctype html>")


def test_a_bound_that_cannot_be_kept_exits_with_1_and_is_named(committed, server, tmp_path):
    gate = tmp_path / "gate.yaml"
    gate.write_text("errors: {max: 0}\ncategories.recall: {min: 1.01}\n")
    code, said = run(evaluate, "--url", server.url, "--gate", gate, "--out", committed[0])  # scored already
    assert code == 1, said
    assert "1 of 2 bounds broken" in said
    assert "<b>no</b>" in (committed[0] / PAGE).read_text()


def test_thresholds_are_proposed_from_the_run_and_load(committed, tmp_path):
    pack = tmp_path / "mine.yaml"
    options = (committed[0], "--budget", "0.02", "--budget", "hate=0.05", "--out", pack)
    code, said = run(thresholds, *options)
    assert code == 0, said
    assert "are needed" in said  # the committed set is too small for such budgets
    assert load_pack(pack).name == "mine"
    assert run(thresholds, *options)[0] == 2  # never overwritten unasked
    assert run(thresholds, *options, "--force")[0] == 0


def test_bad_items_are_named_and_the_others_are_measured(small_run):
    _, report, said = small_run
    assert "bad.mp3: not a known audio file" in said
    assert "missing.mp3: cannot be read: No such file or directory" in said
    assert report["figures"]["errors"]["value"] == 2
    assert report["figures"]["violence_threat.recall"]["value"] == 1.0
    assert report["figures"]["kind=hard negative.false_alarms"]["value"] == 0.0


def test_the_transcript_and_the_sounds_are_those_of_a_scan_and_all_scores_come_with_it(small_run, client):
    scored = small_run[0]["episode"]
    scanned = client.scan(SAMPLE)
    assert scored.transcript == " ".join(segment.text for segment in scanned.segments)
    sounds = [
        (f.category, e.start_s, e.end_s) for f in scanned.findings for e in f.evidence if e.modality == "acoustic"
    ]
    assert sorted((one.target, one.start_s, one.end_s) for one in scored.spans) == sorted(sounds)
    for finding in scanned.findings:
        assert scored.scores[finding.category] == pytest.approx(finding.score, abs=1e-3)
    below = set(scored.scores) - {finding.category for finding in scanned.findings}
    assert any(0 < scored.scores[name] < 0.5 for name in below)  # what verdicts leave out


@pytest.mark.parametrize("kind", [Kind.TEXT, Kind.SOUNDS, Kind.SPEECH])
def test_one_model_alone_gives_what_the_server_gives(small_run, small, kind):
    whole = small_run[0]
    scorer = load(kind, Settings.load(), None)
    if kind is Kind.TEXT:
        (alone,) = scorer([Item("threat", "set", {}, (THREAT,))])
        assert alone.scores == pytest.approx(whole["threat"].scores, abs=1e-3)
        return
    (alone,) = scorer([Item("episode", "set", {}, audio=small.parent / "episode.mp3")])
    if kind is Kind.SPEECH:
        assert alone.transcript == whole["episode"].transcript
    else:
        heard = {name: whole["episode"].scores[name] for name in alone.scores}
        assert alone.scores == pytest.approx(heard, abs=1e-2)


def test_the_commands_are_installed():
    command = [sys.executable, "-m", "aircheck_client.cli", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env={**os.environ, "COLUMNS": "160"})
    assert "evaluate" in done.stdout
    assert "thresholds" in done.stdout
