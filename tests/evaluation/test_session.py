"""`aircheck evaluate text` as a user types it, with the embedded classifier in this process."""

from __future__ import annotations

import gzip
import json
import shutil

import pytest

from aircheck.evaluation.cli import evaluate
from aircheck.evaluation.items import COMMITTED_SET
from aircheck.evaluation.results import RESULTS
from aircheck.evaluation.session import NUMBERS, PAGE
from support.evaluate import run

LINES = [
    {"id": "a", "text": "I will find you and I will kill you.", "y": {"violence_threat": 1}},
    {"id": "b", "text": "We shoot the film on Friday.", "y": {"violence_threat": 0}},
]


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    text = "".join(json.dumps(line) + "\n" for line in LINES)
    (folder / "lines.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    return folder


def test_public_lines_are_measured_against_a_gate_and_not_scored_again(data, tmp_path):
    gate, out, numbers = tmp_path / "gate.yaml", tmp_path / "out", tmp_path / "numbers.json"
    gate.write_text("violence_threat.recall: {min: 1}\n")
    code, said = run(evaluate, "text", data, "--out", out, "--gate", gate, "--json", numbers)
    assert code == 0, said
    assert "all 1 bounds held" in said
    report = json.loads(numbers.read_text())
    assert report == json.loads((out / NUMBERS).read_text())
    assert report["figures"]["violence_threat.recall"]["value"] == 1.0
    assert report["figures"]["false_alarms"]["value"] == 0.0
    assert (out / PAGE).is_file()

    gate.write_text("violence_threat.recall: {max: 0.5}\n")
    scored = (out / RESULTS).read_text().replace('"violence_threat":', '"violence_threat":0.0,"hate":')  # no longer so
    (out / RESULTS).write_text(scored)
    code, said = run(evaluate, "text", data, "--out", out, "--gate", gate)
    assert code == 0, said  # what was kept is what counts

    code, said = run(evaluate, "text", data, "--out", out, "--gate", gate, "--fresh")
    assert code == 1
    assert "1 of 1 bounds broken" in said


def test_a_recording_that_cannot_be_read_does_not_stop_the_others(tmp_path):
    names = ("broken.wav", "news.opus")
    shutil.copy(COMMITTED_SET.parent / "audio" / "harmful-hate-news.opus", tmp_path / "news.opus")
    (tmp_path / "broken.wav").write_bytes(b"not audio at all " * 100)
    lines = [{"file": name, "text": "today", "language": "en", "speaker": "a", "seconds": 1} for name in names]
    (tmp_path / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    code, said = run(evaluate, "speech", tmp_path, "--out", tmp_path / "out")
    assert code == 0, said
    report = json.loads((tmp_path / "out" / NUMBERS).read_text())
    assert report["figures"]["errors"]["value"] == 1
    assert "broken.wav: not a known audio file" in report["faults"][0]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("none.jsonl",), "none.jsonl: cannot be read"),
        (("text",), "text: give the folder of the data"),
        (("text", "."), ".: holds no .jsonl.gz file"),
        (("speech", ".", "--head", "x"), "--head: Whisper has none"),
        (("text", ".", "--url", "127.0.0.1:1"), "leave out text, or --url"),
        (("--source", "hatecheck"), "go with text, sounds or speech"),
        (("sounds", ".", "--text-classifier", "x"), "--text-classifier: sounds does not use it"),
        (("judge",), "give --judge-url and --judge-model"),
        (("judge", "."), "judge: takes no folders"),
        (("text", ".", "--tls"), "--tls: text asks no server"),
        (("sounds", ".", "--in-flight", "8"), "--in-flight: sounds asks no server"),
        (("--url", "127.0.0.1:1", "--window", "5"), "--window: the server at --url has its own"),
        (("--tls",), "--tls: the server that is started here has none"),
        (("judge", "--judge-url", "http://127.0.0.1:1/v1", "--judge-model", "m"), "judge m answered nothing"),
        (("--url", "127.0.0.1:1"), "no server is ready at 127.0.0.1:1"),
        (("--url", "127.0.0.1:1", "--whisper", "turbo"), "leave out --whisper, or --url"),
        (("--market", "sweden"), "--market 'sweden'"),
        (("--gate", "none.yaml"), "gate file none.yaml: cannot be read"),
        (("--markdown", "none.md"), "none.md: cannot be read"),
        (("--pack", "nobodys"), "no policy pack 'nobodys'"),
    ],
)
def test_a_wrong_option_exits_with_2_before_any_work(options, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, said = run(evaluate, *options, "--out", "out")
    assert code == 2, said
    assert words in said
    assert not (tmp_path / "out" / RESULTS).exists()
