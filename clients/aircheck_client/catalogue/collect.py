"""Records to tables: Parquet files that DuckDB, Polars, Spark or pandas read, and what `aircheck rescore` works on.

| table | a row for each | columns |
|---|---|---|
| verdicts | item | id, uri, record, action, severity, score, reason, length, language, policy, its publisher's words |
| findings | record and category | score, severity, action, where the part that decided lies, its words or sound |
| scores | record, window and name | the highest score of each category and sound event, whatever the thresholds |
| windows | record and window | what was not checked, and all findings as JSON |

`record` is the name of an item's record: items of one audio share it. All tables are partitioned by `content_type` and
`market`, as Hive does it, and compressed with zstd.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from aircheck_client.catalogue.extras import imported
from aircheck_client.catalogue.records import ItemEntry, Record, RecordKey, RecordStore
from aircheck_client.formats import webvtt
from aircheck_client.schema import Action, Evidence, Finding, WindowFindings

TABLES = ("verdicts", "findings", "scores", "windows")
PART_ROWS = 50_000
EXPLICIT = ("profanity", "sexual")  # what itunes:explicit speaks of: language, and adult content
_TEXT, _NUMBER = "String", "Float64"
_SCHEMAS = {
    "verdicts": {
        "id": _TEXT, "uri": _TEXT, "record": _TEXT, "audience": _TEXT, "action": _TEXT, "severity": _TEXT,
        "score": _NUMBER, "reason": _TEXT, "duration_s": _NUMBER, "undecoded_s": _NUMBER, "language": _TEXT,
        "policy_pack": _TEXT, "policy_version": _TEXT, "server_version": _TEXT, "title": _TEXT,
        "declared_explicit": "Boolean", "found_explicit": "Boolean", "transcripts": "Int64", "done_at": _TEXT,
    },
    "findings": {
        "record": _TEXT, "category": _TEXT, "score": _NUMBER, "severity": _TEXT, "action": _TEXT,
        "start_s": _NUMBER, "end_s": _NUMBER, "quote": _TEXT, "event": _TEXT,
    },
    "scores": {"record": _TEXT, "audience": _TEXT, "start_s": _NUMBER, "name": _TEXT, "score": _NUMBER},
    "windows": {
        "record": _TEXT, "audience": _TEXT, "start_s": _NUMBER, "duration_s": _NUMBER, "untranscribed_s": _NUMBER,
        "unclassified_s": _NUMBER, "findings": _TEXT,
    },
}  # fmt: skip


@dataclass(frozen=True)
class Collected:
    """How many rows each table has, and where they are.

    lost : items whose record is not there
    undeclared : items that were found explicit, while their publisher says that they are not
    overdeclared : the opposite
    """

    url: str
    rows: dict[str, int]
    lost: int
    undeclared: int
    overdeclared: int


def collect(store: RecordStore, with_vtt: bool = False) -> Collected:
    """Makes the tables anew below the store's `tables/`, and with `with_vtt` a WebVTT file of each record's transcript.

    Raises StoreError.
    """
    store.remove_folder("tables")
    tables = {name: _Table(store, name) for name in TABLES}
    seen: set[RecordKey] = set()
    lost = undeclared = overdeclared = 0
    for entry in store.items:
        record = store.get(entry.key)
        if record is None:
            lost += 1
            continue
        context = entry.item.context
        partition = (context.content_type, context.market)
        row = _verdict_row(entry, record)
        tables["verdicts"].add(partition, [row])
        undeclared += row["declared_explicit"] is False and row["found_explicit"]
        overdeclared += row["declared_explicit"] is True and not row["found_explicit"]
        if record.key in seen:
            continue
        seen.add(record.key)
        name = record_name(record.key)
        tables["findings"].add(partition, (_finding_row(name, finding) for finding in record.verdict.findings))
        for window in record.windows:
            shared = {"record": name, "audience": context.audience, "start_s": window.start_s}
            tables["windows"].add(partition, [shared | _window_row(window)])
            scores = highest_scores(window)
            tables["scores"].add(partition, (shared | {"name": key, "score": scores[key]} for key in sorted(scores)))
        if with_vtt:
            store.write_text(f"tables/vtt/{name}.vtt", webvtt(record.verdict, entry.item.uri))
    rows = {name: table.close() for name, table in tables.items()}
    return Collected(f"{store.url.rstrip('/')}/tables", rows, lost, undeclared, overdeclared)


def record_name(key: RecordKey) -> str:
    return f"{key.audio_sha256}-{key.models[:16]}-{key.pack[:16]}"


def highest_scores(window: WindowFindings) -> dict[str, float]:
    """The highest score of each category and sound event in a window."""
    scores: dict[str, float] = defaultdict(float)
    for sentence in window.text_findings.sentences:
        for name, score in sentence.scores.items():
            scores[name] = max(scores[name], score)
    for span in window.acoustic_findings.spans:
        scores[span.event] = max(scores[span.event], span.score)
    return dict(scores)


def leading(finding: Finding) -> Evidence:
    """The evidence that decided, as in the finding's reason: the most severe action, then score, then the earliest."""
    return min(finding.evidence, key=lambda item: (-item.action.rank, -item.score, item.lead_start_s))


class _Table:
    """Parts of one table, by partition; a part is written when it is full."""

    def __init__(self, store: RecordStore, name: str):
        self._store, self._name = store, name
        self._polars = imported("polars")
        self._rows: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
        self._parts = self._count = 0

    def add(self, partition: tuple[str, str], rows: Iterable[dict[str, Any]]) -> None:
        waiting = self._rows[partition]
        waiting.extend(rows)
        if len(waiting) >= PART_ROWS:
            self._write(partition)

    def close(self) -> int:
        """Writes what is left; how many rows there are."""
        for partition in list(self._rows):
            self._write(partition)
        if not self._parts:  # an empty table has its columns all the same
            self._write(("podcast", "*"))
        return self._count

    def _write(self, partition: tuple[str, str]) -> None:
        rows = self._rows.pop(partition, [])
        schema = {name: getattr(self._polars, kind) for name, kind in _SCHEMAS[self._name].items()}
        content_type, market = partition
        folder = f"tables/{self._name}/content_type={content_type}/market={quote(market, safe='')}"
        frame = self._polars.DataFrame(rows, schema=schema)
        with self._store.writing(f"{folder}/part-{self._parts:05}.parquet") as file:
            frame.write_parquet(file, compression="zstd")
        self._parts += 1
        self._count += len(rows)


def _verdict_row(entry: ItemEntry, record: Record) -> dict[str, Any]:
    item, verdict = entry.item, record.verdict
    published = item.published
    return {
        "id": item.id,
        "uri": item.uri,
        "record": record_name(record.key),
        "audience": item.context.audience,
        "action": str(verdict.action),
        "severity": str(verdict.severity),
        "score": verdict.score,
        "reason": verdict.reason,
        "duration_s": verdict.duration_s,
        "undecoded_s": verdict.coverage.undecoded_s,
        "language": verdict.language,
        "policy_pack": verdict.policy_pack,
        "policy_version": verdict.policy_version,
        "server_version": verdict.server_version,
        "title": published.title if published else None,
        "declared_explicit": published.explicit if published else None,
        "found_explicit": any(
            finding.category in EXPLICIT and finding.action >= Action.LABEL_EXPLICIT for finding in verdict.findings
        ),
        "transcripts": len(published.transcripts) if published else None,
        "done_at": entry.done_at.isoformat(),
    }


def _finding_row(record: str, finding: Finding) -> dict[str, Any]:
    lead = leading(finding)
    return {
        "record": record,
        "category": finding.category,
        "score": finding.score,
        "severity": str(finding.severity),
        "action": str(finding.action),
        "start_s": lead.lead_start_s,
        "end_s": lead.lead_end_s,
        "quote": lead.quote,
        "event": lead.event,
    }


def _window_row(window: WindowFindings) -> dict[str, Any]:
    return {
        "duration_s": window.duration_s,
        "untranscribed_s": window.coverage.untranscribed_s,
        "unclassified_s": window.coverage.unclassified_s,
        "findings": window.model_dump_json(),
    }
