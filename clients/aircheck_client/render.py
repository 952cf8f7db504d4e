"""Verdicts for people: a timeline in the terminal."""

from __future__ import annotations

from decimal import ROUND_DOWN, Decimal

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from aircheck_client.schema import Action, Evidence, Segment, Severity, Verdict, clock

ACTION_STYLE = {
    Action.ALLOW: "green",
    Action.LABEL_EXPLICIT: "cyan",
    Action.LIMIT: "yellow",
    Action.REVIEW: "dark_orange",
    Action.BLOCK: "bold red",
}
_SEVERITY_STYLE = {
    Severity.NONE: "green",
    Severity.LOW: "cyan",
    Severity.MEDIUM: "yellow",
    Severity.HIGH: "red",
    Severity.CRITICAL: "bold white on red",
}


def timeline(verdict: Verdict, title: str = "") -> RenderableType:
    """The episode's transcript with its findings beside the words they rest on, then the decision."""
    rows = Table(box=None, pad_edge=False, show_header=True, header_style="dim", expand=True)
    rows.add_column("time", style="dim", no_wrap=True)
    rows.add_column("heard", ratio=3)
    rows.add_column("found", ratio=2)
    for start_s, heard, found in _rows(verdict):
        rows.add_row(clock(start_s), heard, found)
    name = Text(title, no_wrap=True, overflow="ignore")  # whole, however long
    return Group(*([name] if title else []), Panel(rows, border_style="dim"), decision(verdict))


def decision(verdict: Verdict) -> RenderableType:
    """The findings, most severe first, what could not be checked, and what to do with the recording."""
    parts: list[RenderableType] = []
    if verdict.findings:
        table = Table(box=None, pad_edge=False, header_style="dim")
        for column in ("category", "severity", "action", "score", "where"):
            table.add_column(column, justify="right" if column == "score" else "left")
        for finding in sorted(verdict.findings, key=lambda f: (f.action.rank, f.severity.rank, f.score), reverse=True):
            table.add_row(
                finding.category,
                Text(finding.severity, _SEVERITY_STYLE[finding.severity]),
                Text(finding.action, ACTION_STYLE[finding.action]),
                _two_digits(finding.score),
                ", ".join(f"{clock(e.start_s)}–{clock(e.end_s)}" for e in finding.evidence),
            )
        parts.append(Padding(table, (0, 0, 1, 0)))
    style = ACTION_STYLE[verdict.action]
    reason = verdict.reason.removeprefix(f"{verdict.action}: ")
    parts.append(Text.assemble(("decision: ", "bold"), (verdict.action.upper(), style), f"  {reason}"))
    if heard := _coverage(verdict):
        parts.append(Text(heard, "yellow"))
    language = f" in {verdict.language}" if verdict.language else ""
    parts.append(
        Text(
            f"{clock(verdict.duration_s)} of audio{language}, policy {verdict.policy_pack} v{verdict.policy_version}, "
            f"{verdict.context.content_type}, market {verdict.context.market}",
            "dim",
        )
    )
    parts += [Text(f"warning: {warning}", "yellow") for warning in verdict.warnings]
    return Panel(Group(*parts), border_style=style)


def _coverage(verdict: Verdict) -> str:
    """What could not be checked, in one line; empty where that is less than a second."""
    coverage = verdict.coverage
    parts = []
    if coverage.untranscribed_s >= 1:
        parts.append(f"{_whole_seconds(coverage.untranscribed_s)} of speech could not be transcribed")
    if coverage.undecoded_s >= 1:
        parts.append(f"{_whole_seconds(coverage.undecoded_s)} of audio could not be decoded")
    if coverage.unclassified_s > 0:
        languages = sorted({item.language or "not sure" for item in verdict.unchecked if item.kind == "unclassified"})
        which = f" ({', '.join(languages)})" if languages else ""
        seconds = _whole_seconds(coverage.unclassified_s)
        parts.append(f"{seconds} are in a language that the text classifier does not know{which}")
    return "not fully checked: " + "; ".join(parts) if parts else ""


def _two_digits(score: float) -> str:
    """Rounded down, as in the reasons: a 0.849 that missed a level at 0.85 must not read as if it had reached it."""
    return str(Decimal(str(score)).quantize(Decimal("0.01"), rounding=ROUND_DOWN))


def _whole_seconds(seconds: float) -> str:
    return f"{max(1, round(seconds))} s"


def _words(segment: Segment, verdict: Verdict) -> str:
    """The text, with its language where that is not the recording's."""
    is_other = segment.language not in ("", verdict.language)
    return f"[{segment.language}] {segment.text}" if is_other else segment.text


def _rows(verdict: Verdict) -> list[tuple[float, Text, Text]]:
    """(start_s, heard, found) in order of time: text evidence beside its segment, sounds in rows of their own."""
    evidence = [(finding, item) for finding in verdict.findings for item in finding.evidence]
    rows = []
    for segment in verdict.segments:
        here = [
            (finding, item)
            for finding, item in evidence
            if item.modality == "text" and item.start_s < segment.end_s and segment.start_s < item.end_s
        ]
        found = Text("\n").join(_label(f.category, item) for f, item in here)
        worst = max((item.action for _, item in here), default=Action.ALLOW)
        rows.append((segment.start_s, Text(_words(segment, verdict), ACTION_STYLE[worst] if here else ""), found))
    for finding, item in evidence:
        if item.modality == "acoustic":
            rows.append((item.start_s, Text(f"♪ {item.event}", "italic"), _label(finding.category, item)))
    return sorted(rows, key=lambda row: row[0])


def _label(category: str, item: Evidence) -> Text:
    unsure = " (unsure transcript)" if item.low_confidence else ""
    severity = (item.severity, _SEVERITY_STYLE[item.severity])
    return Text.assemble(
        (f"{category} ", "bold"), severity, f" {_two_digits(item.score)} → {item.action}", (unsure, "dim")
    )
