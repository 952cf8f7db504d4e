"""Traces out of the files that `TraceFile` writes."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from aircheck.tracing.names import CALL_ID, FILES, KEY, MODELS

_ERROR = 2  # OTLP's status code
MIN_PREFIX = 6  # characters of an id that are enough to name it


class TraceError(ValueError):
    """There is no such trace; the message says where it was looked for."""


@dataclass(frozen=True)
class Span:
    """A piece of work, with its times in seconds since the epoch."""

    trace_id: str
    id: str
    parent_id: str
    service: str
    name: str
    start_s: float
    end_s: float
    is_error: bool
    attributes: dict[str, Any] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        return self.end_s - self.start_s


@dataclass(frozen=True)
class Trace:
    """The spans of one trace, in the order of their starts."""

    id: str
    spans: tuple[Span, ...]

    @property
    def root(self) -> Span:
        """The call: the first span whose parent is not here."""
        here = {span.id for span in self.spans}
        return next(span for span in self.spans if span.parent_id not in here)

    @cached_property
    def _children(self) -> dict[str, list[Span]]:
        children: dict[str, list[Span]] = defaultdict(list)
        for span in self.spans:
            children[span.parent_id].append(span)
        return children

    def children(self, span: Span) -> list[Span]:
        return self._children.get(span.id, [])

    @property
    def seconds(self) -> float:
        return max(span.end_s for span in self.spans) - self.spans[0].start_s


def traces(folder: Path, containing: str = "") -> dict[str, Trace]:
    """Traces by their ids, oldest first, of the lines that hold a text. Raises TraceError where no file is."""
    by_trace: dict[str, list[Span]] = defaultdict(list)
    for span in _spans(folder, containing.encode()):
        by_trace[span.trace_id].append(span)
    made = [Trace(id, _in_order(spans)) for id, spans in by_trace.items()]
    return {trace.id: trace for trace in sorted(made, key=lambda trace: trace.spans[0].start_s)}


def last_calls(folder: Path, count: int) -> list[Span]:
    """The newest calls' own spans, oldest first. Raises TraceError where no file is."""
    return _calls(folder, CALL_ID)[-count:]


def find(folder: Path, name: str) -> Trace:
    """The newest trace whose own id or whose call's begins with `name`, or that its caller named so.

    Raises TraceError.
    """
    written = json.dumps(name, ensure_ascii=False)[1:-1]
    for call in reversed(_calls(folder, written)):
        ids = (call.trace_id, str(call.attributes[CALL_ID]))
        if name == call.attributes.get(KEY) or (len(name) >= MIN_PREFIX and any(id.startswith(name) for id in ids)):
            return traces(folder, call.trace_id)[call.trace_id]
    raise TraceError(
        f"no trace {name!r} in {folder}: give a trace's or a call's id (or {MIN_PREFIX} characters of it), or the "
        "caller's idempotency key; `aircheck trace` without one lists the last. A trace is there a second after its "
        "call has ended"
    )


def _calls(folder: Path, containing: str) -> list[Span]:
    spans = (span for trace in traces(folder, containing).values() for span in trace.spans)
    return sorted((span for span in spans if CALL_ID in span.attributes), key=lambda span: span.start_s)


def _in_order(spans: list[Span]) -> tuple[Span, ...]:
    """By their starts. Each "compute" of Triton bears its model's name, and Whisper's span is made whole.

    Triton ends a model's span when its `execute` returns, and Whisper's only hands the window to the engine: its
    "compute" says nothing, and it ends where the step that waits for it begins.
    """
    models = {span.id: span.name for span in spans if span.service == MODELS}
    waiting = {span.parent_id: span.start_s for span in spans if (span.service, span.name) == (MODELS, "text_safety")}
    whole: list[Span] = []
    for span in spans:
        if (span.service, span.name) == (MODELS, "whisper"):
            span = replace(span, end_s=max(span.end_s, waiting.get(span.parent_id, 0.0)))
        elif (span.service, span.name) == (MODELS, "compute"):
            model = models.get(span.parent_id, "")
            if model == "whisper":
                continue
            span = replace(span, name=f"{model} compute")
        whole.append(span)
    return tuple(sorted(whole, key=lambda span: span.start_s))


def _spans(folder: Path, containing: bytes) -> Iterator[Span]:
    paths = [path for path in (folder / name for name in reversed(FILES)) if path.is_file()]
    if not paths:
        raise TraceError(f"no traces in {folder}; start the server with --trace-dir {folder}")
    for path in paths:
        with path.open("rb") as lines:
            for line in lines:
                try:
                    if containing in line:
                        yield from _of_line(json.loads(line))
                except (ValueError, KeyError):  # cut short by a server that was killed
                    continue


def _of_line(request: dict[str, Any]) -> Iterator[Span]:
    for resource in request.get("resourceSpans", []):
        service = str(_attributes(resource.get("resource", {})).get("service.name", ""))
        for scope in resource.get("scopeSpans", []):
            for span in scope.get("spans", []):
                yield Span(
                    trace_id=span["traceId"],
                    id=span["spanId"],
                    parent_id=span.get("parentSpanId", ""),
                    service=service,
                    name=span["name"],
                    start_s=int(span["startTimeUnixNano"]) / 1e9,
                    end_s=int(span["endTimeUnixNano"]) / 1e9,
                    is_error=span.get("status", {}).get("code") == _ERROR,
                    attributes=_attributes(span),
                )


def _attributes(holder: dict[str, Any]) -> dict[str, Any]:
    """OTLP's list of typed values as a plain mapping; arrays and maps are left out, for nothing here has any."""
    found: dict[str, Any] = {}
    for item in holder.get("attributes", []):
        for kind, value in item.get("value", {}).items():
            if kind == "intValue":
                found[item["key"]] = int(value)
            elif kind in ("stringValue", "doubleValue", "boolValue"):
                found[item["key"]] = value
    return found
