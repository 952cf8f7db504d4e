"""What another pack changes: by action, by market, by category, with examples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl

from aircheck_client.schema import Action

NONE = "none"  # no finding of a category


@dataclass(frozen=True)
class Differences:
    """What changes from one set of verdicts to another.

    actions : before, after, items
    markets : market, before, after, items
    categories : category, before, after, items; `none` where there is no finding
    examples : a few items of each change of action, those with the highest scores
    """

    items: int
    changed: int
    actions: pl.DataFrame
    markets: pl.DataFrame
    categories: pl.DataFrame
    examples: pl.DataFrame

    def report(self) -> dict[str, Any]:
        """For JSON."""
        names = ("actions", "markets", "categories", "examples")
        return {"items": self.items, "changed": self.changed} | {name: getattr(self, name).to_dicts() for name in names}


def differences(before: pl.LazyFrame, findings: pl.LazyFrame, after: pl.DataFrame, n_examples: int = 3) -> Differences:
    """Between the stored verdicts (with their findings) and the rescored ones, item by item."""
    both = (
        after.lazy()
        .select("id", "uri", "record", "market", "score", after="action", reason_after="reason")
        .join(before.select("id", before="action", reason_before="reason", score_before="score"), on="id")
        .collect()
    )
    changed = both.filter(pl.col("before") != pl.col("after"))
    return Differences(
        items=both.height,
        changed=changed.height,
        actions=_counted(changed, []),
        markets=_counted(changed, ["market"]),
        categories=_categories(before, findings, after),
        examples=_examples(changed, n_examples),
    )


def _categories(before: pl.LazyFrame, findings: pl.LazyFrame, after: pl.DataFrame) -> pl.DataFrame:
    old = (
        before.select("id", "record")
        .join(findings.select("record", "category", before="action"), on="record")
        .select("id", "category", "before")
    )
    new = (
        after.lazy()
        .select("id", "findings")
        .explode("findings")
        .drop_nulls("findings")
        .select(
            "id", category=pl.col("findings").struct.field("category"), after=pl.col("findings").struct.field("action")
        )
    )
    joined = old.join(new, on=["id", "category"], how="full", coalesce=True).with_columns(
        pl.col("before", "after").fill_null(NONE)
    )
    return _counted(joined.filter(pl.col("before") != pl.col("after")).collect(), ["category"])


def _counted(changed: pl.DataFrame, by: list[str]) -> pl.DataFrame:
    """Most frequent first, then from the mildest action on."""
    rank = {str(action): action.rank for action in Action} | {NONE: -1}
    counted = changed.group_by(*by, "before", "after").agg(items=pl.len())
    order = [pl.col(name).replace_strict(rank, return_dtype=pl.Int64) for name in ("before", "after")]
    return counted.sort([-pl.col("items").cast(pl.Int64), *by, *order])


def _examples(changed: pl.DataFrame, most: int) -> pl.DataFrame:
    highest = pl.max_horizontal("score", "score_before")
    return (
        changed.with_columns(highest=highest)
        .sort(["before", "after", "highest", "id"], descending=[False, False, True, False])
        .group_by("before", "after", maintain_order=True)
        .head(most)
        .select("before", "after", "id", "uri", "market", "reason_before", "reason_after")
    )
