"""Small tables of items and results, for the tests of figures and reports."""

from __future__ import annotations

from aircheck.evaluation import table
from aircheck.evaluation.items import Item, Result, Span
from aircheck.evaluation.table import Table
from aircheck.policy.packs import load_pack
from aircheck.settings import ROOT
from aircheck_client.schema import Context

PACK = load_pack(ROOT / "server_config" / "policies" / "default.yaml")
Pair = tuple[Item, Result]


def line(id_: str, truth: dict[str, bool], scores: dict[str, float], source: str = "set", **facts: object) -> Pair:
    item = Item(id_, source, truth, ("words",), **facts)
    return item, Result(id=id_, fingerprint="", scores=scores)


def clip(id_: str, label: str, found: list[Span], duration_s: float = 36.0, spans: list[Span] | None = None) -> Pair:
    """A sound whose truth is about gunshots alone."""
    item = Item(id_, "clips", {"gunshot": label == "gunshot"}, slices={"kind": label}, spans=spans and tuple(spans))
    scores = {"gunshot": max((one.score for one in found), default=0.1)}
    return item, Result(id=id_, fingerprint="", duration_s=duration_s, scores=scores, spans=tuple(found))


def table_of(pairs: list[Pair]) -> Table:
    return table.build([item for item, _ in pairs], [result for _, result in pairs], PACK.for_context(Context()))
