"""A catalogue through a real server, whose jobs are killed at random moments, and the server too."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from aircheck.server import Server
from aircheck.settings import Settings
from aircheck_client.catalogue.records import RecordStore
from benchmarks.bulk.catalogue import free_port, spoken_clips
from benchmarks.bulk.kills import run_with_kills, write_manifest
from support.audio import tone, wav
from support.speech import speak


def bulk(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "aircheck_client.cli", "bulk", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "archive"
    (made / "1999").mkdir(parents=True)
    (made / "threat.wav").write_bytes(wav(speak("I will find you and I will kill you.")))
    (made / "copy.wav").write_bytes(wav(speak("I will find you and I will kill you.")))
    (made / "1999" / "tone.wav").write_bytes(wav(tone(2)))
    (made / "broken.mp3").write_bytes(b"no sound at all " * 64)
    (made / "cover.jpg").write_bytes(b"no sound either")
    return made


def test_a_folder_is_scanned_once_and_what_fails_is_told(server, folder, tmp_path):
    out = tmp_path / "records"
    first = bulk(folder, "--out", out, "--url", server.url, "--market", "SE", "--log", tmp_path / "log")
    assert first.returncode == 1, first.stderr
    assert first.stdout.startswith("2 heard, 1 of audio that was heard before, 0 done before, 1 failed")
    store = RecordStore(out)
    records = {entry.item.id: store.get(entry.key) for entry in store.items}
    assert set(records) == {"threat.wav", "copy.wav", "1999/tone.wav"}
    assert records["threat.wav"] == records["copy.wav"]
    verdict = records["threat.wav"].verdict
    assert [finding.category for finding in verdict.findings] == ["violence_threat"]
    assert verdict.context.market == "SE"
    assert verdict.segments
    (window,) = records["threat.wav"].windows
    assert max(sentence.scores["violence_threat"] for sentence in window.text_findings.sentences) > 0.5
    (letter,) = map(json.loads, (out / "dead_letters.jsonl").read_text().splitlines())
    assert (letter["id"], letter["reason"]) == ("broken.mp3", "invalid_audio")
    assert json.loads((tmp_path / "log").read_text().splitlines()[-1])["heard"] == 2

    again = bulk(folder, "--out", out, "--url", server.url, "--market", "SE")
    assert again.stdout.startswith("0 heard, 0 of audio that was heard before, 3 done before, 1 failed")
    assert bulk(folder, "--out", out, "--url", server.url, "--market", "SE", "--ping").stdout == (
        "1 of 4 items are left\n"
    )


def test_what_stops_a_job_is_one_line_and_exit_code_2(server, tmp_path):
    for arguments in (
        (tmp_path / "absent.jsonl", "--out", tmp_path, "--url", server.url),
        (tmp_path, "--out", tmp_path / "out", "--url", "127.0.0.1:1", "--patience", "0.1"),
        (tmp_path, "--out", tmp_path / "out", "--shard", "9/3"),
        (tmp_path, "--out", "nosuchscheme://x", "--url", server.url),
    ):
        failed = bulk(*arguments)
        assert failed.returncode == 2, failed
        assert "error: " in failed.stderr
        assert "Traceback" not in failed.stderr


@pytest.mark.timeout(900)
def test_kills_at_random_moments_lose_nothing_and_do_nothing_twice(tmp_path):
    manifest = write_manifest(tmp_path / "m.jsonl", spoken_clips(tmp_path / "clips", 14), twice=3)
    settings = Settings.load(grpc_port=free_port(), metrics_port=0)
    with Server(settings) as server:
        kills = run_with_kills(server, manifest, tmp_path / "out", job_kills=3, server_kills=1, longest_run_s=4.0)
    assert kills.is_exact, kills
