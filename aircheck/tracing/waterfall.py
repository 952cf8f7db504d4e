"""A trace in a terminal: a bar for each span, and what each stage took in all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from aircheck.tracing.names import CALL_ID, KEY, MODELS
from aircheck.tracing.reading import Span, Trace
from aircheck_client.schema import clock

BAR_WIDTH = 48  # characters
_STYLES = {MODELS: "magenta"}  # what the models did; all else is the gateway's


def waterfall(trace: Trace, max_windows: int) -> RenderableType:
    """max_windows : windows shown with what is below them: the longest; the rest is only counted"""
    return Group(_headline(trace), _bars(trace, max_windows), "", _stages(trace))


def _headline(trace: Trace) -> Text:
    root = trace.root
    parts = [f"{root.name}, {trace.seconds:.3f} s", f"trace {trace.id}"]
    if call := root.attributes.get(CALL_ID):
        parts.append(f"call {call}")
    if key := root.attributes.get(KEY):
        parts.append(f"key {key!r}")
    return Text(", ".join(parts), style="bold")


def _bars(trace: Trace, max_windows: int) -> Table:
    table = Table(box=None, padding=(0, 1), header_style="dim")
    table.add_column("span", no_wrap=True)
    table.add_column("", no_wrap=True, width=BAR_WIDTH)
    table.add_column("from", justify="right", no_wrap=True)
    table.add_column("took", justify="right", no_wrap=True)
    longest = sorted((span for span in trace.spans if span.name == "window"), key=lambda span: -span.seconds)
    shown = {span.id for span in longest[:max_windows]}
    for span, depth in _in_order(trace, trace.root, 0, shown):
        start_s = span.start_s - trace.spans[0].start_s
        style = "red" if span.is_error else _STYLES.get(span.service, "cyan")
        label = Text("  " * depth + _label(span), style="red" if span.is_error else "")
        table.add_row(label, Text(_bar(trace, span), style=style), f"{start_s:.3f}", f"{span.seconds:.3f}")
    if hidden := len(longest) - len(shown):
        table.add_row(f"  ({hidden} shorter windows: --windows {len(longest)})", "", "", "")
    return table


def _in_order(trace: Trace, span: Span, depth: int, windows: set[str]) -> Iterator[tuple[Span, int]]:
    """The span and what is below it, depth first, without the windows that are not to be shown."""
    yield span, depth
    for child in trace.children(span):
        if child.name == "window" and child.id not in windows:
            continue
        yield from _in_order(trace, child, depth + 1, windows)


def _label(span: Span) -> str:
    start_s = span.attributes.get("start_s")
    return f"{span.name} {clock(float(start_s))}" if start_s is not None else span.name


def _bar(trace: Trace, span: Span) -> str:
    per_s = BAR_WIDTH / max(trace.seconds, 1e-9)
    first = min(BAR_WIDTH - 1, int((span.start_s - trace.spans[0].start_s) * per_s))
    last = min(BAR_WIDTH, max(first + 1, round((span.end_s - trace.spans[0].start_s) * per_s)))
    return " " * first + "━" * (last - first)


def _stages(trace: Trace) -> Table:
    """By name: how many, their sum, the longest. Spans lie within and beside one another, so sums do not add up."""
    by_name: dict[tuple[str, str], list[float]] = defaultdict(list)
    for span in trace.spans:
        by_name[span.service, span.name].append(span.seconds)
    table = Table(box=None, padding=(0, 1), header_style="dim")
    table.add_column("stage")
    for column in ("spans", "seconds in all", "longest"):
        table.add_column(column, justify="right")
    for (service, name), seconds in sorted(by_name.items(), key=lambda item: -sum(item[1])):
        style = _STYLES.get(service, "")
        table.add_row(Text(name, style=style), str(len(seconds)), f"{sum(seconds):.3f}", f"{max(seconds):.3f}")
    return table
