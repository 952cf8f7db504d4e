"""Records to rows of the rescored table, in this process or in others, which need no tables."""

from __future__ import annotations

import gc
import multiprocessing
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any

from aircheck.policy.kept import decide_recording
from aircheck.policy.packs import PolicyPack, Rules, load_pack
from aircheck_client.schema import Context, Verdict, WindowFindings

CHUNK = 200  # records that a process gets at a time


@dataclass(frozen=True)
class Work:
    """The windows of one record that are to be decided, as JSON."""

    record: str
    context: Mapping[str, str]
    undecoded_s: float
    duration_s: float
    windows: tuple[str, ...]


class Decider:
    """Decides records by one pack, in whatever process."""

    def __init__(self, pack: PolicyPack):
        self._pack = pack
        self._rules: dict[Context, Rules] = {}

    def __call__(self, work: Work) -> dict[str, Any]:
        """A row of the rescored table: record, action, severity, score, reason, findings."""
        context = Context.model_validate({**work.context, "policy_pack": self._pack.name})
        if (rules := self._rules.get(context)) is None:
            rules = self._rules[context] = self._pack.for_context(context)
        windows = [WindowFindings.model_validate_json(text) for text in work.windows]
        return row_of(work.record, decide_recording(windows, work.duration_s, context, rules, work.undecoded_s))


class Deciders:
    """Processes that decide by one pack; they start while the caller goes on."""

    def __init__(self, pack_file: Path, processes: int):
        # forked, a process would inherit Polars' locks without its threads
        self._pool = ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), _begin, (pack_file,))
        for _ in range(processes):
            self._pool.submit(_decide, [])

    def __enter__(self) -> Deciders:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def rows(self, work: Iterable[Work]) -> Iterator[dict[str, Any]]:
        left = iter(work)
        for rows in self._pool.map(_decide, iter(lambda: list(islice(left, CHUNK)), [])):
            yield from rows


_decider: Decider | None = None  # of a process of `Deciders`


def _begin(pack_file: Path) -> None:
    global _decider
    gc.freeze()  # what is decided has no cycles, and is many small objects
    gc.set_threshold(100_000)
    _decider = Decider(load_pack(pack_file))


def _decide(works: list[Work]) -> list[dict[str, Any]]:
    assert _decider is not None
    return [_decider(work) for work in works]


def row_of(record: str, verdict: Verdict) -> dict[str, Any]:
    return {
        "record": record,
        "action": str(verdict.action),
        "severity": str(verdict.severity),
        "score": verdict.score,
        "reason": verdict.reason,
        "findings": [
            {
                "category": finding.category,
                "score": finding.score,
                "severity": str(finding.severity),
                "action": str(finding.action),
            }
            for finding in verdict.findings
        ],
    }
