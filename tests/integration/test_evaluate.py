"""The quality bench as a user types it: against a real server, with a gate, and one model alone."""

import json
import os
import shutil
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from aircheck.policy.packs import load_pack
from aircheck.settings import ROOT
from benchmarks.quality.cli import evaluate
from benchmarks.quality.manifest import EMBEDDED_SET, Item, Label, read, write
from benchmarks.quality.report import REPORT, Report
from benchmarks.quality.results import RESULTS, read_results

GATE = ROOT / "server_config" / "quality_gate.yaml"
SAMPLE = ROOT / "samples" / "episode.mp3"
THREAT = "i will find you and i will kill you"


def aircheck(*arguments):
    command = [sys.executable, "-m", "aircheck_client.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=1200, env={**os.environ, "COLUMNS": "160"})


@pytest.fixture(scope="module")
def committed(server, tmp_path_factory):
    """The committed set, scored once; the folder, and what was said."""
    out = tmp_path_factory.mktemp("committed")
    return out, aircheck("evaluate", "--url", server.url, "--gate", GATE, "--out", out)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A manifest with an episode of several windows, texts, and two items that cannot be scored."""
    folder = tmp_path_factory.mktemp("small")
    shutil.copy(SAMPLE, folder / "episode.mp3")
    (folder / "bad.mp3").write_bytes(b"not audio at all " * 100)
    items = [
        Item(id="episode", audio="episode.mp3", transcript="today", labels=(Label(category="hate"),)),
        Item(id="threat", text=THREAT, labels=(Label(category="violence_threat"),)),
        Item(id="film", text="we shoot the film on friday", slices={"kind": "hard negative"}),
        Item(id="bad", audio="bad.mp3", transcript="never"),
        Item(id="missing", audio="missing.mp3", transcript="never"),
    ]
    write(items, folder / "small.jsonl")
    return folder / "small.jsonl"


@pytest.fixture(scope="module")
def small_run(server, small, tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    return out, aircheck("evaluate", small, "--url", server.url, "--out", out)


def test_the_committed_set_keeps_the_committed_bounds(committed):
    out, done = committed
    assert done.returncode == 0, done.stdout + done.stderr
    report = Report.model_validate_json((out / REPORT).read_text())
    assert report.counts.items == len(read(EMBEDDED_SET).items)
    assert report.counts.errors == 0
    assert "bounds held" in done.stdout
    assert "embedded classifiers" in done.stdout
    assert (out / "report.html").read_text().startswith("<!doctype html>")


def test_a_bound_that_cannot_be_kept_exits_with_1_and_is_named(committed, server, tmp_path):
    out, _ = committed
    gate = tmp_path / "gate.yaml"
    gate.write_text("errors: {max: 0}\nrecall.macro: {min: 1.01}\n")
    done = aircheck("evaluate", "--url", server.url, "--gate", gate, "--out", out)  # scored already: only counted anew
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 of 2 bounds broken" in done.stdout
    page = (out / "report.html").read_text()
    assert "recall.macro" in page
    assert "✗ no" in page


def test_thresholds_are_proposed_from_the_run_and_load(committed, tmp_path):
    out, _ = committed
    pack = tmp_path / "mine.yaml"
    done = aircheck("thresholds", out, "--budget", "0.02", "--budget", "hate=0.05", "--out", pack)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "are needed" in done.stdout  # the committed set is too small for such budgets, and that is said
    assert load_pack(pack).name == "mine"
    assert aircheck("thresholds", out, "--out", pack).returncode == 2  # never overwritten unasked
    assert aircheck("thresholds", out, "--out", pack, "--force").returncode == 0


def test_bad_items_are_named_and_the_others_are_measured(small_run):
    out, done = small_run
    assert done.returncode == 0, done.stdout + done.stderr
    said = " ".join(done.stdout.split())
    assert "bad: bad.mp3: not a known audio file" in said
    assert "missing.mp3: No such file or directory; restore the file" in said
    report = json.loads((out / REPORT).read_text())
    assert report["figures"]["errors"] == 2
    assert report["figures"]["recall.violence_threat"] == 1.0
    assert report["hard_negatives_flagged"]["value"] == 0.0


def test_the_verdict_is_the_one_that_a_scan_gives_and_scores_come_with_it(small_run, client):
    out, _ = small_run
    scored = next(one for one in read_results(out) if one.item.id == "episode")
    scanned = client.scan(SAMPLE)
    assert scored.verdict.action == scanned.action
    assert scored.transcript == " ".join(segment.text for segment in scanned.segments)
    places = [
        [(f.category, [(e.start_s, e.end_s, e.quote) for e in f.evidence]) for f in sorted_findings(verdict)]
        for verdict in (scored.verdict, scanned)
    ]
    assert places[0] == places[1]
    for finding in scanned.findings:
        known = {**scored.text_scores, **scored.event_scores}
        assert known[finding.category] == pytest.approx(finding.score, abs=1e-3)
    below = [name for name in scored.text_scores if name not in {finding.category for finding in scanned.findings}]
    assert any(0 < scored.text_scores[name] < 0.5 for name in below)  # what verdicts leave out


def sorted_findings(verdict):
    return sorted(verdict.findings, key=lambda finding: finding.category)


@pytest.mark.parametrize("through", ["whisper", "text_safety", "acoustic_safety"])
def test_one_model_alone_gives_what_the_server_gives(small, small_run, tmp_path, through):
    done = aircheck("evaluate", small, "--through", through, "--out", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    alone = {one.item.id: one for one in read_results(tmp_path)}
    whole = {one.item.id: one for one in read_results(small_run[0])}
    if through == "whisper":
        assert alone["episode"].transcript == whole["episode"].transcript
        assert alone["episode"].text_scores is None
    elif through == "text_safety":
        assert alone["threat"].text_scores == pytest.approx(whole["threat"].text_scores, abs=1e-3)
        assert alone["missing"].error is None  # its transcript is scored, not its audio
    else:
        assert alone["episode"].event_scores == pytest.approx(whole["episode"].event_scores, abs=1e-2)
        assert {"threat", "film"}.isdisjoint(alone)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("none.jsonl",), "none.jsonl: the manifest cannot be read"),
        (("--through", "ears"), "--through 'ears': use one of server, whisper, text_safety, acoustic_safety"),
        (("--url", "127.0.0.1:1"), "no server is ready at 127.0.0.1:1"),
        (("--url", "127.0.0.1:1", "--whisper", "turbo"), "leave out --whisper, or --url"),
        (("--market", "sweden"), "--market 'sweden'"),
        (("--gate", "none.yaml"), "none.yaml: the gate file cannot be read"),
        (("--markdown", "none.md"), "none.md: cannot be read"),
        (("--pack", "nobodys"), "no policy pack 'nobodys'"),
    ],
)
def test_a_wrong_option_exits_with_2_before_any_work(options, words, tmp_path):
    command = typer.Typer()
    command.command()(evaluate)  # in this process: a new one would spend its time on imports
    done = CliRunner().invoke(command, [*options, "--out", str(tmp_path / "out")], env={"COLUMNS": "160"})
    assert done.exit_code == 2, done.output
    assert words in " ".join(done.output.split())
    assert not (tmp_path / "out" / RESULTS).exists()


def test_an_unknown_bound_exits_with_2_and_a_hint(small, small_run, server, tmp_path):
    gate = tmp_path / "gate.yaml"
    gate.write_text("recal.macro: {min: 0.5}\n")
    done = aircheck("evaluate", small, "--url", server.url, "--gate", gate, "--out", small_run[0])
    assert done.returncode == 2
    assert "did you mean recall.macro" in " ".join(done.stdout.split())
