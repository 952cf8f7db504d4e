"""Rescored verdicts are those that deciding every window of every record gives; and what changes is told."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
import typer
from typer.testing import CliRunner

from aircheck.commands.rescore import rescore as command
from aircheck.policy.kept import decide_recording
from aircheck.policy.packs import load_pack
from aircheck.rescore import deciding, rescoring
from aircheck.rescore.deciding import row_of
from aircheck.rescore.differences import differences
from aircheck.rescore.rescoring import RescoreError, read_tables, rescore
from aircheck.settings import ROOT
from aircheck_client.catalogue.collect import collect, record_name
from aircheck_client.catalogue.records import RecordStore
from support.kept_findings import DEFAULT, fill

POLICIES = ROOT / "server_config" / "policies"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    made = RecordStore(tmp_path_factory.mktemp("catalogue"))
    fill(made, 300)
    collect(made)
    return made


@pytest.fixture(scope="module")
def tables(store):
    return read_tables(f"{store.url}/tables")


def edited(folder: Path, *changes: str) -> Path:
    """The default pack with texts replaced, each given as `before=>after`."""
    text = DEFAULT.read_text()
    for change in changes:
        before, _, after = change.partition("=>")
        assert before in text
        text = text.replace(before, after)
    path = folder / "default.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "change",
    [
        "score: 0.5,=>score: 0.31,",
        "score: 0.85,=>score: 0.9,",
        "{tolerated_s: 1.5, tolerated_share: 0.3, action: review}=>{tolerated_s: 0.0, action: block}",
        "unclassified: {tolerated_s: 0.0=>unclassified: {tolerated_s: 60.0",
        "undecoded: {tolerated_s: 0.5=>undecoded: {tolerated_s: 0.2",
        "name: default=>name: default  # nothing else",
    ],
)
def test_every_item_gets_the_verdict_that_deciding_all_its_windows_gives(store, tables, tmp_path, change):
    path = edited(tmp_path, change)
    pack, found = load_pack(path), rescore(tables, path)
    got = {row["id"]: row for row in found.verdicts.iter_rows(named=True)}
    assert 0 < found.decided <= 300
    entries = list(store.items)
    assert len(got) == len(entries) == 330
    for entry in entries:
        record = store.get(entry.key)
        context = entry.item.context
        undecoded_s = record.verdict.coverage.undecoded_s
        whole = decide_recording(record.windows, record.duration_s, context, pack.for_context(context), undecoded_s)
        wanted = row_of(record_name(record.key), whole)
        assert {name: got[entry.item.id][name] for name in wanted} == wanted


def test_the_strict_pack_too_and_in_processes_of_their_own(tables, monkeypatch):
    alone = rescore(tables, POLICIES / "strict.yaml", processes=1)
    monkeypatch.setattr(rescoring, "FEW", 10)
    monkeypatch.setattr(deciding, "CHUNK", 7)
    shared = rescore(tables, POLICIES / "strict.yaml", processes=2)
    assert shared.verdicts.equals(alone.verdicts)
    assert set(alone.verdicts["policy_pack"]) == {"strict"}


def test_records_that_are_clean_at_sight_are_not_decided(tmp_path):
    store = RecordStore(tmp_path)
    fill(store, 60, share_found=0.0, seed=1)
    collect(store)
    found = rescore(read_tables(f"{store.url}/tables"), DEFAULT)
    assert found.decided < 60
    assert set(found.verdicts["action"]) <= {"allow", "review"}


def test_the_same_pack_changes_nothing(tables):
    changes = differences(tables["verdicts"], tables["findings"], rescore(tables, DEFAULT).verdicts)
    assert (changes.items, changes.changed) == (330, 0)
    assert changes.actions.height == changes.markets.height == changes.categories.height == changes.examples.height == 0


def test_what_changes_is_counted_by_action_market_and_category_with_examples(tables, tmp_path):
    path = edited(tmp_path, "score: 0.85,=>score: 0.95,")
    after = rescore(tables, path).verdicts
    changes = differences(tables["verdicts"], tables["findings"], after, n_examples=2)
    before = tables["verdicts"].collect()
    both = before.join(after, on="id", suffix="_after")
    changed = both.filter(pl.col("action") != pl.col("action_after"))
    assert changes.changed == changed.height > 0
    assert changes.actions["items"].sum() == changes.markets["items"].sum() == changed.height
    assert set(changes.actions["before"]) == {"block"}
    assert {"hate", "violence_threat"} <= set(changes.categories["category"])
    assert all(count <= 2 for count in changes.examples.group_by("before", "after").len()["len"])
    assert json.dumps(changes.report())


def test_the_command_shows_what_changes_and_writes_all_verdicts(store, tmp_path):
    app = typer.Typer()
    app.command()(command)
    path = edited(tmp_path, "score: 0.85,=>score: 0.95,")
    arguments = [store.url, "--pack", str(path), "--out", str(tmp_path / "out")]
    shown = CliRunner().invoke(app, arguments)
    assert shown.exit_code == 1, shown.output
    assert "items get another action" in shown.output
    assert "violence_threat: block → review" in shown.output
    assert "after:  review" in shown.output
    assert pl.read_parquet(tmp_path / "out" / "verdicts.parquet").height == 330
    report = json.loads((tmp_path / "out" / "changes.json").read_text())
    assert json.loads(CliRunner().invoke(app, [*arguments, "--json"]).output) == report
    assert report["items"] == 330
    same = CliRunner().invoke(app, [store.url, "--pack", str(DEFAULT), "--out", str(tmp_path / "same")])
    assert same.exit_code == 0
    for broken in ([str(tmp_path / "nothing"), "--pack", str(path)], [store.url, "--pack", "absent.yaml"]):
        failed = CliRunner().invoke(app, broken)
        assert failed.exit_code == 2
        assert failed.output.startswith("error: ")


def test_tables_that_are_not_there_are_told_with_what_makes_them(tmp_path):
    with pytest.raises(RescoreError, match="aircheck bulk collect"):
        read_tables(str(tmp_path))
