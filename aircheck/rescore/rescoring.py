"""The tables of a catalogue to verdicts under another pack."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from aircheck.cores import usable_cores
from aircheck.policy.packs import PolicyPack, load_pack
from aircheck.rescore.deciding import Decider, Deciders, Work
from aircheck.rescore.selection import CONTEXT, WINDOW, beside, contexts_of, levels, reaching, unchecked
from aircheck_client.schema import Action, Severity

TABLES_NEEDED = ("verdicts", "findings", "scores", "windows")
FEW = 500  # items, or records to decide, for which no other processes are worth their start
_FINDING = pl.Struct({"category": pl.String, "score": pl.Float64, "severity": pl.String, "action": pl.String})
_ROW: dict[str, pl.DataType | type[pl.DataType]] = {
    "record": pl.String,
    "action": pl.String,
    "severity": pl.String,
    "score": pl.Float64,
    "reason": pl.String,
    "findings": pl.List(_FINDING),
}


class RescoreError(Exception):
    """The tables are not there, or cannot be read."""


@dataclass(frozen=True)
class Rescored:
    """Verdicts under a pack: `verdicts` has a row an item, `decided` says how many records were not clean at sight."""

    pack: PolicyPack
    verdicts: pl.DataFrame
    decided: int


def read_tables(folder: str) -> dict[str, pl.LazyFrame]:
    """Those of `aircheck bulk collect`. Raises RescoreError."""
    tables = {}
    for name in TABLES_NEEDED:
        table = pl.scan_parquet(f"{folder.rstrip('/')}/{name}/**/*.parquet", hive_partitioning=True)
        try:
            table.collect_schema()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise RescoreError(f"{folder}: no table {name!r}; run `aircheck bulk collect` first ({error})") from None
        tables[name] = table.with_columns(pl.col("content_type", "market").cast(pl.String))
    return tables


def rescore(tables: Mapping[str, pl.LazyFrame], pack_file: Path, processes: int | None = None) -> Rescored:
    """The verdict on every item by the pack.

    processes : that decide; None: as many as there are cores

    Raises PolicyError, RescoreError.
    """
    pack = load_pack(pack_file)
    items = tables["verdicts"]
    count = processes or usable_cores()
    is_few = items.select(pl.len()).collect().item() <= FEW
    with ExitStack() as stack:
        others = stack.enter_context(Deciders(pack_file, count)) if count > 1 and not is_few else None
        work, number = _work(tables, pack)  # while they start
        decided = others.rows(work) if others and number > FEW else map(Decider(pack), work)
        rows = pl.DataFrame(list(decided), schema=_ROW)
    nothing = {
        "action": pl.lit(str(Action.ALLOW)),
        "severity": pl.lit(str(Severity.NONE)),
        "score": pl.lit(0.0),
        "reason": pl.lit(f"nothing found ({pack.name} v{pack.version})"),
        "findings": pl.lit([], dtype=pl.List(_FINDING)),
    }
    verdicts = (
        items.select("id", "uri", "record", *CONTEXT)
        .join(rows.lazy(), on="record", how="left")
        .with_columns(pl.col(name).fill_null(value) for name, value in nothing.items())
        .with_columns(policy_pack=pl.lit(pack.name), policy_version=pl.lit(pack.version))
        .sort("id")
    )
    return Rescored(pack, verdicts.collect(), number)


def _work(tables: Mapping[str, pl.LazyFrame], pack: PolicyPack) -> tuple[Iterator[Work], int]:
    """The records that are not clean at sight, each with its windows that are to be decided; and how many they are."""
    items, scores, windows = tables["verdicts"], tables["scores"], tables["windows"]
    rules = [(context, pack.for_context(context)) for context in contexts_of(items, pack)]
    found = pl.concat([reaching(scores, levels(rules)), unchecked(windows, rules)]).unique().collect().lazy()
    recordings = items.select("record", "duration_s", "undecoded_s").unique(subset="record")
    damaged = recordings.filter(pl.col("undecoded_s") > 0)
    whole = windows.join(damaged, on="record", how="semi").select(*CONTEXT, *WINDOW)
    wanted = pl.concat([found, beside(scores, found, rules), whole]).unique()
    kept = (
        windows.join(wanted, on=WINDOW, how="semi")
        .group_by("record")
        .agg(pl.col(CONTEXT).first(), pl.col("findings"))
        .join(recordings, on="record")
        .collect()
    )
    work = (
        Work(
            row["record"],
            {name: row[name] for name in CONTEXT},
            row["undecoded_s"],
            row["duration_s"],
            tuple(row["findings"]),
        )
        for row in kept.iter_rows(named=True)
    )
    return work, kept.height
