"""How many items a second `aircheck rescore` decides, from tables to what changes."""

from __future__ import annotations

import hashlib
import itertools
import time
from pathlib import Path
from typing import Any

from aircheck.rescore.differences import differences
from aircheck.rescore.rescoring import read_tables, rescore
from aircheck.settings import ROOT
from aircheck_client.catalogue.records import RecordStore


def measure(tables_folder: str, pack: Path, turns: int) -> dict[str, Any]:
    """The best of `turns`, and the share of records that the filter could not leave out."""
    seconds = []
    for _ in range(turns):
        begun_s = time.perf_counter()
        tables = read_tables(tables_folder)
        found = rescore(tables, pack)
        changes = differences(tables["verdicts"], tables["findings"], found.verdicts)
        seconds.append(time.perf_counter() - begun_s)
    items = found.verdicts.height
    return {
        "items": items,
        "records": found.verdicts["record"].n_unique(),
        "decided": found.decided,
        "changed": changes.changed,
        "seconds": [round(taken, 3) for taken in seconds],
        "items_per_s": round(items / min(seconds), 1),
    }


def multiplied(source: RecordStore, target: RecordStore, count: int) -> None:
    """`count` items with records of their own: those of a catalogue over and over, under other audio hashes."""
    entries = list(source.items)
    if not entries:
        raise SystemExit(f"{source.url} holds no items; scan some with aircheck bulk")
    for number, entry in zip(range(count), itertools.cycle(entries), strict=False):
        record = source.get(entry.key)
        if record is None:
            continue
        audio_sha256 = hashlib.sha256(f"{number} {entry.key.audio_sha256}".encode()).hexdigest()
        key = record.key.model_copy(update={"audio_sha256": audio_sha256})
        item = entry.item.model_copy(update={"id": f"{number} {entry.item.id}"})
        target.put(record.model_copy(update={"key": key}))
        target.put_item(entry.model_copy(update={"item": item, "key": key}))


def stricter(folder: Path) -> Path:
    """The default pack, which blocks at 0.8 what it blocks at 0.85."""
    path = folder / "default.yaml"
    path.write_text((ROOT / "server_config" / "policies" / "default.yaml").read_text().replace("0.85", "0.8"))
    return path
