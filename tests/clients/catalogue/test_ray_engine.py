"""A bulk job on a Ray of this machine: the same records and failures as without it, also where a server goes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aircheck_client.catalogue.records import RecordStore
from support.scripted_server import ScriptedServer

ITEMS = 24


def bulk(source: Path, out: Path, url: str, *options: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "aircheck_client.cli", "bulk", source.name, "--out", out.name, "--url", url]
    return subprocess.Popen(
        [*command, *options], cwd=source.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.fixture
def manifest(tmp_path):
    lines = [{"id": f"item {number}", "uri": f"{number}.wav"} for number in range(ITEMS)]
    for number in range(ITEMS):
        (tmp_path / f"{number}.wav").write_text(f"slow {number}")
    (tmp_path / "invalid.wav").write_text("invalid")
    lines += [{"id": "invalid", "uri": "invalid.wav"}, {"id": "missing", "uri": "nowhere.wav"}, {"id": "no uri"}]
    path = tmp_path / "manifest.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_of_two_servers_one_goes_half_way_and_each_item_is_there_once(manifest, tmp_path):
    out = tmp_path / "records"
    with ScriptedServer() as stays:
        with ScriptedServer() as goes:
            both = f"{stays.url},{goes.url}"
            job = bulk(manifest, out, both, "--engine", "ray", "--workers", "2", "--parallel", "8")
            while len(stays.heard) + len(goes.heard) < ITEMS // 3 and job.poll() is None:
                time.sleep(0.1)
            assert goes.heard
        printed, said = job.communicate()
        assert job.returncode == 1, said
        assert printed.startswith(f"{ITEMS} heard, 0 of audio that was heard before, 0 done before, 3 failed"), said
        store = RecordStore(out)
        assert sorted(entry.item.id for entry in store.items) == sorted(f"item {number}" for number in range(ITEMS))
        assert {entry.key for entry in store.items} == {record.key for record in store.records()}
        letters = map(json.loads, (out / "dead_letters.jsonl").read_text().splitlines())
        assert {letter["id"]: letter["reason"] for letter in letters} == {
            "invalid": "invalid_audio",
            "missing": "source_missing",
            "manifest.jsonl:27": "bad_item",
        }
        assert max(server.most_at_once for server in (stays, goes)) <= 8

        again = bulk(manifest, out, stays.url)
        assert again.communicate()[0].startswith(f"0 heard, 0 of audio that was heard before, {ITEMS} done before, 3")
