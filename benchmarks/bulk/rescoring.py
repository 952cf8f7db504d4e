"""How many items a second `aircheck rescore` decides, from tables to what changes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from aircheck.rescore.differences import differences
from aircheck.rescore.rescoring import read_tables, rescore


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
