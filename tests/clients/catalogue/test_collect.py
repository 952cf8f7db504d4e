"""Records to tables that anybody can read."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from aircheck_client.catalogue.collect import TABLES, collect, highest_scores
from aircheck_client.catalogue.records import Item, ItemEntry, Published, RecordStore, now
from aircheck_client.schema import Context
from support.catalogue import record_of
from support.kept_findings import fill


def table(store: RecordStore, name: str) -> pl.DataFrame:
    return pl.read_parquet(f"{store.url}/tables/{name}/**/*.parquet", hive_partitioning=True)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    made = RecordStore(tmp_path_factory.mktemp("catalogue"))
    fill(made, 40)
    return made


def test_every_item_has_a_verdict_and_every_record_its_findings_scores_and_windows(store):
    made = collect(store)
    assert made.lost == 0
    verdicts, findings = table(store, "verdicts"), table(store, "findings")
    assert verdicts.height == made.rows["verdicts"] == 44
    assert verdicts["record"].n_unique() == 40
    assert set(verdicts["market"]) == {"*", "SE", "DE"}
    records = list(store.records())
    assert findings.height == sum(len(record.verdict.findings) for record in records)
    assert table(store, "windows").height == sum(len(record.windows) for record in records)
    highest = sum(len(highest_scores(window)) for record in records for window in record.windows)
    assert table(store, "scores").height == highest


def test_tables_are_compressed_partitioned_and_made_anew(store):
    first = collect(store)
    assert collect(store) == first
    assert table(store, "verdicts").height == 44
    folder = Path(store.url) / "tables" / "verdicts"
    assert (folder / "content_type=audiobook" / "market=SE").is_dir()
    assert (folder / "content_type=podcast" / "market=%2A").is_dir()


def test_what_a_publisher_declares_stands_beside_what_was_found(tmp_path):
    store, record = RecordStore(tmp_path), record_of(b"audio")
    store.put(record)
    item = Item(id="one", uri="a", published=Published(title="Pilot", explicit=True, transcripts=("https://x/t.vtt",)))
    store.put_item(ItemEntry(item=item, key=record.key, done_at=now()))
    made = collect(store)
    assert (made.undeclared, made.overdeclared) == (0, 1)
    (row,) = table(store, "verdicts").to_dicts()
    assert (row["title"], row["declared_explicit"], row["found_explicit"], row["transcripts"]) == (
        "Pilot",
        True,
        False,
        1,
    )


def test_what_says_that_it_is_not_explicit_and_is_is_counted(tmp_path):
    store = RecordStore(tmp_path)
    fill(store, 40)
    for entry in list(store.items):
        published = Published(explicit=False)
        store.put_item(entry.model_copy(update={"item": entry.item.model_copy(update={"published": published})}))
    made = collect(store)
    explicit = table(store, "verdicts")["found_explicit"].sum()
    assert 0 < made.undeclared == explicit
    assert made.overdeclared == 0


def test_transcripts_are_written_as_webvtt_where_asked(store):
    folder = Path(store.url) / "tables" / "vtt"
    collect(store)
    assert not folder.exists()
    collect(store, with_vtt=True)
    assert len(files := list(folder.iterdir())) == 40
    assert files[0].read_text().startswith("WEBVTT")


def test_an_empty_store_has_empty_tables_and_a_lost_record_is_counted(tmp_path):
    store = RecordStore(tmp_path)
    assert set(collect(store).rows.values()) == {0}
    assert all(table(store, name).height == 0 for name in TABLES)
    item = Item(id="one", uri="a", context=Context())
    store.put_item(ItemEntry(item=item, key=record_of(b"gone").key, done_at=now()))
    assert collect(store).lost == 1
