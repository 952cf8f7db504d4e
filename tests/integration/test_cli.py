"""The `aircheck` command as a user types it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from aircheck_client import Verdict
from support.audio import encode, silence, tone, wav
from support.speech import speak

SAMPLE = Path(__file__).parents[2] / "samples" / "episode.mp3"


def aircheck(*arguments, **environment):
    command = [sys.executable, "-m", "aircheck_client.cli", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=300, env={**os.environ, "COLUMNS": "120", **environment}
    )


@pytest.fixture
def quiet(tmp_path):
    path = tmp_path / "quiet.wav"
    path.write_bytes(wav(silence(3.0)))
    return path


def test_a_clean_recording_exits_with_0(server, quiet):
    done = aircheck("scan", quiet, "--url", server.url)
    assert done.returncode == 0, done.stderr
    assert "ALLOW" in done.stdout
    assert "nothing found" in done.stdout


def test_a_harmful_recording_exits_with_1_and_shows_where(server):
    done = aircheck("scan", SAMPLE, AIRCHECK_URL=server.url)
    assert done.returncode == 1, done.stderr
    assert "violence_threat" in done.stdout
    assert "decision: BLOCK" in done.stdout


def test_a_recording_that_cannot_be_checked_is_not_clean(server, tmp_path):
    path = tmp_path / "cut_off.flac"
    path.write_bytes(encode(tone(20.0), "flac")[:-100_000])
    done = aircheck("scan", path, "--url", server.url)
    assert done.returncode == 1, done.stderr
    assert "decision: REVIEW" in done.stdout
    assert "of audio could not be decoded" in done.stdout


def test_json_is_one_verdict_a_line_and_carries_the_context(server, quiet):
    options = ("--json", "--content-type", "audiobook", "--market", "SE", "--policy", "strict", "--url", server.url)
    done = aircheck("scan", quiet, quiet, *options)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["file"] for line in lines] == [str(quiet)] * 2
    verdict = Verdict.model_validate(lines[0]["verdict"])
    assert (verdict.context.content_type, verdict.context.market, verdict.policy_pack) == ("audiobook", "SE", "strict")


def test_one_bad_file_is_named_and_the_others_are_still_scanned(server, quiet, tmp_path):
    bad = tmp_path / "bad.mp3"
    bad.write_bytes(b"not audio at all " * 100)
    done = aircheck("scan", tmp_path / "missing.mp3", bad, quiet, "--json", "--url", server.url)
    assert done.returncode == 2
    assert [json.loads(line)["file"] for line in done.stdout.splitlines()] == [str(quiet)]
    errors = " ".join(done.stderr.split())
    assert "missing.mp3: cannot be read: No such file or directory" in errors
    assert "bad.mp3: not a known audio file" in errors


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--market", "sweden"), "--market"),
        (("--content-type", "video"), "--content-type"),
        (("--policy", "../x"), "--policy"),
        (("--url", "127.0.0.1:1"), "no server answers at 127.0.0.1:1"),
    ],
)
def test_a_wrong_option_exits_with_2_and_is_named(server, quiet, options, words):
    done = aircheck("scan", quiet, "--url", server.url, *options)
    assert done.returncode == 2
    assert words in " ".join(done.stderr.split())


def test_a_setting_nobody_knows_stops_serve_with_2():
    done = aircheck("serve", AIRCHECK_GRPC_PROT="9001")
    assert done.returncode == 2
    assert "did you mean AIRCHECK_GRPC_PORT" in " ".join(done.stderr.split())


def test_the_demo_runs_from_start_to_stop_and_leaves_its_json(tmp_path):
    recording = tmp_path / "episode.wav"
    recording.write_bytes(wav(speak("i will find you and i will kill you")))
    done = aircheck("demo", recording)
    assert done.returncode == 0, done.stdout + done.stderr
    verdict = Verdict.model_validate_json((tmp_path / "episode.verdict.json").read_text())
    assert verdict.scope == "episode"
    assert verdict.findings
    for words in ("ready after", "decision: BLOCK", "times real time", "make serve"):
        assert words in done.stdout
    assert "CUDA" not in done.stdout
