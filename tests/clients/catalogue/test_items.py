"""Manifests and folders to items."""

from __future__ import annotations

import json

import fsspec
import polars as pl
import pytest

from aircheck_client.catalogue.items import BadItem, Shard, SourceError, folder_items, is_folder, manifest_items
from aircheck_client.catalogue.records import Item
from aircheck_client.schema import Context

SWEDISH = Context(market="SE")
ROWS = [
    {"uri": "s3://bucket/one.mp3", "id": "1", "market": "DE"},
    {"uri": "two.mp3", "id": "2", "market": ""},
    {"uri": "/archive/three.mp3", "id": "", "market": None},
]


def jsonl(path):
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS) + "\n")


def csv(path):
    path.write_text("uri,id,market\n" + "".join(f"{row['uri']},{row['id']},{row['market'] or ''}\n" for row in ROWS))


def parquet(path):
    pl.DataFrame(ROWS).with_columns(length_s=1.0).write_parquet(path)


@pytest.mark.parametrize("form", [jsonl, csv, parquet])
def test_manifests_of_every_form_say_the_same(tmp_path, form):
    path = tmp_path / f"manifest.{form.__name__}"
    form(path)
    assert list(manifest_items(str(path), SWEDISH)) == [
        Item(id="1", uri="s3://bucket/one.mp3", context=Context(market="DE")),
        Item(id="2", uri=f"{tmp_path}/two.mp3", context=SWEDISH),
        Item(id="/archive/three.mp3", uri="/archive/three.mp3", context=SWEDISH),
    ]


def test_a_context_may_be_an_object_and_comes_over_the_defaults(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_text('{"uri": "a.mp3", "context": {"content_type": "audiobook"}}')
    (item,) = manifest_items(str(path), SWEDISH)
    assert item.context == Context(content_type="audiobook", market="SE")


def test_lines_that_are_no_items_are_told_with_their_place_and_the_rest_is_read(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_text(
        '{"uri": "a.mp3"}\n{broken\n[]\n{"id": "x"}\n{"uri": "b.mp3", "market": "sweden"}\n{"uri": "c.mp3"}\n'
    )
    found = list(manifest_items(str(path), Context()))
    assert [item.id for item in found if isinstance(item, Item)] == ["a.mp3", "c.mp3"]
    bad = [item for item in found if isinstance(item, BadItem)]
    assert [item.id.rpartition(":")[2] for item in bad] == ["2", "3", "4", "5"]
    assert "market" in bad[-1].reason


def test_a_manifest_in_an_object_store_names_its_neighbours(tmp_path):
    with fsspec.open("memory://bucket/lists/m.jsonl", "w") as file:
        file.write('{"uri": "a.mp3"}')
    (item,) = manifest_items("memory://bucket/lists/m.jsonl", Context())
    assert item.uri == "memory://bucket/lists/a.mp3"


def test_a_manifest_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(SourceError, match="absent.jsonl"):
        list(manifest_items(str(tmp_path / "absent.jsonl"), Context()))
    (tmp_path / "no.parquet").write_text("no parquet")
    with pytest.raises(SourceError, match="no.parquet"):
        list(manifest_items(str(tmp_path / "no.parquet"), Context()))


def test_a_folder_gives_its_sound_files_by_their_path_in_it(tmp_path):
    for name in ("b.mp3", "a/c.M4B", "a/.hidden.mp3", "cover.jpg", "list.m3u", "clip.mp4", "talk.opus", "notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    assert is_folder(str(tmp_path))
    found = {item.id: item.uri for item in folder_items(str(tmp_path), SWEDISH)}
    assert found == {name: f"{tmp_path}/{name}" for name in ("b.mp3", "a/c.M4B", "clip.mp4", "talk.opus")}


def test_shards_are_disjoint_and_hold_everything():
    names = [f"item {number}" for number in range(1000)]
    parts = [{name for name in names if Shard.parse(f"{number}/3").holds(name)} for number in (1, 2, 3)]
    assert set.union(*parts) == set(names)
    assert sum(map(len, parts)) == len(names)
    assert min(map(len, parts)) > 250


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b", "1/0", "-1/2"])
def test_a_shard_that_is_none_is_refused(text):
    with pytest.raises(ValueError, match="shard"):
        Shard.parse(text)
