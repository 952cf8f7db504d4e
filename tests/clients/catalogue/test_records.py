"""The record store: whole or not at all, one record an audio, one entry an item, on every file system alike."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
import uuid
from pathlib import Path

import pytest

from aircheck_client.catalogue.extras import MissingPackageError, imported
from aircheck_client.catalogue.records import Item, ItemEntry, RecordKey, RecordStore, StoreError, models_digest, now
from aircheck_client.schema import Context, PackVersion, ServerInfo, ServerLimits
from support.catalogue import MODELS, record_of

LIMITS = ServerLimits(max_recording_s=1, max_recording_bytes=1, max_clip_s=1, max_clip_bytes=1, max_parallel_scans=1)


@pytest.fixture(params=["folder", "memory://"])
def store(request, tmp_path):
    return RecordStore(tmp_path / "catalogue" if request.param == "folder" else f"memory://{uuid.uuid4().hex}")


def entry(name: str, key: RecordKey) -> ItemEntry:
    return ItemEntry(item=Item(id=name, uri=f"s3://bucket/{name}.mp3"), key=key, done_at=now())


def test_a_record_comes_back_as_it_was_put(store):
    record = record_of(b"audio")
    assert store.get(record.key) is None
    store.put(record)
    assert store.get(record.key) == record
    assert list(store.records()) == [record]


def test_two_uris_of_one_audio_share_a_record_and_each_item_is_there_once(store):
    record = record_of(b"audio")
    store.put(record)
    store.put(record)
    for name in ("one", "two", "one"):
        store.put_item(entry(name, record.key))
    assert len(list(store.records())) == 1
    assert sorted(found.item.id for found in store.items) == ["one", "two"]
    assert store.item("two").key == record.key
    assert store.item("three") is None


def test_all_records_of_an_audio_are_found(store):
    swedish = record_of(b"audio", Context(market="SE"))
    for record in (record_of(b"audio"), swedish, record_of(b"other")):
        store.put(record)
    found = set(store.find(swedish.key.audio_sha256))
    assert found == {record_of(b"audio").key, swedish.key}


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "a/b", "ä" * 5000, "\ud800"])
def test_an_item_may_be_called_anything_but_nothing(store, name):
    if not name or "\ud800" in name:
        with pytest.raises(ValueError, match="id"):
            entry(name, record_of(b"").key)
        return
    store.put_item(entry(name, record_of(b"").key))
    assert store.item(name).item.id == name
    assert [found.item.id for found in store.items] == [name]


def test_the_key_of_a_verdict_is_the_one_that_was_asked_for():
    record = record_of(b"audio", Context(market="SE"))
    info = ServerInfo(
        server_version="1",
        models=MODELS[::-1],  # in whatever order
        policy_packs=(PackVersion(name="default", version="3", sha256="ab" * 32),),
        limits=LIMITS,
    )
    assert RecordKey.of(record.key.audio_sha256, info, Context(market="SE")) == record.key
    assert RecordKey.of(record.key.audio_sha256, info, Context(market="DE")) != record.key
    with pytest.raises(ValueError, match="strict"):
        RecordKey.of(record.key.audio_sha256, info, Context(policy_pack="strict"))


def test_another_version_of_a_model_is_another_key():
    newer = (MODELS[0].model_copy(update={"version": "2"}), MODELS[1])
    assert models_digest(MODELS) != models_digest(newer)


@pytest.mark.parametrize(
    "damage", [lambda data: b"", lambda data: data[:-3], lambda data: data[:20] + bytes(1) + data[21:]]
)
def test_a_file_that_a_loss_of_power_tore_counts_as_not_there(tmp_path, damage):
    store, record = RecordStore(tmp_path), record_of(b"audio")
    store.put(record)
    store.put_item(entry("one", record.key))
    for path in (store.record_path(record.key), store.item_path("one")):
        Path(path).write_bytes(damage(Path(path).read_bytes()))
    assert store.get(record.key) is None
    assert store.item("one") is None
    assert list(store.records()) == list(store.items) == []
    store.put(record)
    assert store.get(record.key) == record


def _write_for_ever(folder: str) -> None:
    store, count = RecordStore(folder), 0
    while True:
        record = record_of(b"%d" % (count % 7))
        store.put(record)
        store.put_item(entry(f"item {count % 7}", record.key))
        count += 1


def test_a_writer_that_is_killed_leaves_whole_files_alone(tmp_path):
    for pause_s in (0.05, 0.11, 0.17):
        writer = multiprocessing.get_context("spawn").Process(target=_write_for_ever, args=(str(tmp_path),))
        writer.start()
        store = RecordStore(tmp_path)
        while not any(True for _ in store.items):
            time.sleep(0.01)
        time.sleep(pause_s)
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
        entries, keys = list(store.items), {record.key for record in store.records()}
        files = [path for path in tmp_path.rglob("*.zst") if not path.name.startswith(".")]
        assert len(entries) + len(keys) == len(files)  # all that is there can be read
        assert {found.key for found in entries} <= keys


def test_a_store_that_cannot_be_written_says_where(tmp_path):
    (tmp_path / "records").write_text("a file where a folder should be")
    with pytest.raises(StoreError, match="records"):
        RecordStore(tmp_path).put(record_of(b"audio"))


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(MissingPackageError, match=r"zstandard.*pip install 'aircheck-client\[bulk\]'"):
        imported("zstandard")
    with pytest.raises(MissingPackageError):
        RecordStore("memory://x")
