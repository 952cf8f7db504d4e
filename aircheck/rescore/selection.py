"""Which windows of a catalogue a pack may find something in; all others need not be decided."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from aircheck.policy.packs import PolicyPack, Rules
from aircheck_client.schema import Context

CONTEXT = ("content_type", "market", "audience")
WINDOW = ("record", "start_s")
_ROUNDING_S = 0.002  # coverage is rounded to the millisecond


def contexts_of(verdicts: pl.LazyFrame, pack: PolicyPack) -> list[Context]:
    """Every context of the catalogue, with the pack's name."""
    rows = verdicts.select(CONTEXT).unique().sort(CONTEXT).collect()
    return [Context.model_validate({**row, "policy_pack": pack.name}) for row in rows.iter_rows(named=True)]


def levels(rules: Iterable[tuple[Context, Rules]]) -> pl.DataFrame:
    """The lowest score at which each category and event is a finding, by context: CONTEXT, name, least."""
    rows = [
        (context.content_type, context.market, context.audience, str(name), rule.levels[0].score)
        for context, its in rules
        for name, rule in (*its.categories.items(), *its.events.items())
    ]
    schema = {**dict.fromkeys((*CONTEXT, "name"), pl.String), "least": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def reaching(scores: pl.LazyFrame, least: pl.DataFrame) -> pl.LazyFrame:
    """The windows in which a score reaches a level: CONTEXT, record, start_s."""
    found = scores.join(least.lazy(), on=[*CONTEXT, "name"]).filter(pl.col("score") >= pl.col("least"))
    return found.select(*CONTEXT, *WINDOW)


def unchecked(windows: pl.LazyFrame, rules: Iterable[tuple[Context, Rules]]) -> pl.LazyFrame:
    """The windows in which more was not checked than a pack tolerates, or nearly: CONTEXT, record, start_s."""
    limits = [
        (
            *(getattr(context, name) for name in CONTEXT),
            its.coverage.untranscribed.tolerated_s,
            its.coverage.untranscribed.tolerated_share,
            its.coverage.unclassified.tolerated_s,
        )
        for context, its in rules
    ]
    numbers = ("tolerated_s", "tolerated_share", "tolerated_unclassified_s")
    schema = {**dict.fromkeys(CONTEXT, pl.String), **dict.fromkeys(numbers, pl.Float64)}
    table = pl.LazyFrame(limits, schema=schema, orient="row")
    tolerated_s = pl.min_horizontal("tolerated_s", pl.col("tolerated_share") * pl.col("duration_s"))
    is_over = (pl.col("untranscribed_s") > 0) & (pl.col("untranscribed_s") > tolerated_s - _ROUNDING_S)
    is_foreign = (pl.col("unclassified_s") > 0) & (
        pl.col("unclassified_s") > pl.col("tolerated_unclassified_s") - _ROUNDING_S
    )
    return windows.join(table, on=CONTEXT).filter(is_over | is_foreign).select(*CONTEXT, *WINDOW)


def beside(scores: pl.LazyFrame, found: pl.LazyFrame, rules: Iterable[tuple[Context, Rules]]) -> pl.LazyFrame:
    """Of the records in `found`, the windows with sounds that a composition speaks of: CONTEXT, record, start_s."""
    rows = [
        (context.content_type, context.market, context.audience, str(name))
        for context, its in rules
        for name in its.compositions.context_events
    ]
    sounds = pl.LazyFrame(rows, schema=dict.fromkeys((*CONTEXT, "name"), pl.String), orient="row")
    heard = scores.join(sounds, on=[*CONTEXT, "name"], how="semi").filter(pl.col("score") > 0)
    return heard.join(found.select("record").unique(), on="record", how="semi").select(*CONTEXT, *WINDOW)
