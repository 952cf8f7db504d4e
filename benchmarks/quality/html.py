"""The report as one page: no network, no framework, light and dark, and everything that came from outside escaped."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from aircheck_client.schema import Action
from benchmarks.quality import plots
from benchmarks.quality.audio_clips import MAX_TOTAL_BYTES, Clips
from benchmarks.quality.gate import Outcome
from benchmarks.quality.intervals import Measure
from benchmarks.quality.plots import Plot, Row, forest
from benchmarks.quality.ranking import needed_negatives
from benchmarks.quality.report import Gap, Report, SliceKey
from benchmarks.quality.targets import macro

PAGE = "report.html"
TEMPLATE = Path(__file__).with_name("report.html.j2")

# Makes the tables of class `sortable` sort by a click on a heading, numbers by their data-sort.
SCRIPT = """
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") !== "descending";
      heads.forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = row => row.cells[column].dataset.sort ?? row.cells[column].textContent.trim();
      const rows = [...table.tBodies[0].rows].sort((a, b) => {
        const x = key(a), y = key(b), numbers = x !== "" && y !== "" && !isNaN(x) && !isNaN(y);
        return numbers ? x - y : x.localeCompare(y);
      });
      table.tBodies[0].append(...(down ? rows.reverse() : rows));
    });
  });
}
"""


def render(report: Report, audio: Path, outcomes: Sequence[Outcome] = (), gate_file: str = "") -> str:
    """The page. `audio`: the folder of the manifest, from which the players are cut."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"figure": figure, "words": words, "duration": duration}
    placed = [one for one in report.targets if one.overlap.value is not None or one.event_f1.value is not None]
    columns = [one.name for one in report.targets if any(one.name in row.found for row in report.confusion)]
    needed = needed_negatives(report.budget)
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        report=report,
        light=Markup(plots.LIGHT),
        dark=Markup(plots.DARK),
        script=SCRIPT,
        script_hash=base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode(),
        embedded=[model.model for model in report.conditions.models if model.embedded],
        contents=_contents(report, bool(outcomes), bool(placed)),
        macros=_macros(report),
        outcomes=outcomes,
        gate_file=gate_file,
        budget=f"{report.budget * 100:g} %",
        needed=needed,
        few=[one.name for one in report.targets if one.positives and one.clean < needed],
        placed=placed,
        columns=columns,
        actions=[action.value for action in Action],
        plots=plots,
        slice_plots=slice_plots,
        clips=Clips(audio),
        max_clip_bytes=MAX_TOTAL_BYTES,
    )


def slice_plots(key: SliceKey) -> list[Plot]:
    """Recall and word error rate of each value, where at least two have one."""
    charts = []
    recall = [Row(one.value, one.recall, _is_clear(one.recall_gap)) for one in key.values]
    errors = [Row(one.value, one.wer, _is_clear(one.wer_gap)) for one in key.values]
    for title, rows in (("recall", recall), ("word error rate", errors)):
        known = [row for row in rows if row.measure.value is not None]
        if len(known) >= 2:
            most = 1.0 if title == "recall" else _scale([row.measure for row in known])
            charts.append(forest(title, known, most))
    return charts


def figure(value: float, percent: bool = False) -> str:
    """Two digits, or a percentage with one where it is small."""
    if percent:
        shown = value * 100
        return f"{shown:.1f} %" if abs(shown) < 10 else f"{shown:.0f} %"
    return f"{value:.2f}" if abs(value) >= 0.1 or value == 0 else f"{value:.3f}"


def words(name: str) -> str:
    """`violence_threat` as people write it."""
    return name.replace("_", " ")


def duration(seconds: float) -> str:
    return (
        f"{seconds / 3600:.1f} h"
        if seconds >= 3600
        else f"{seconds / 60:.1f} min"
        if seconds >= 60
        else f"{seconds:.0f} s"
    )


def _macros(report: Report) -> list[tuple[str, float, str]]:
    tiles = []
    for kind, name in (("speech", "of harmful speech found"), ("sound", "of harmful sounds found")):
        group = [one for one in report.targets if one.kind == kind and one.positives]
        for measures, hint in (
            ([one.recall for one in group], "recall at the pack's thresholds"),
            ([one.recall_at_budget for one in group], f"recall at {report.budget * 100:g} % false positives"),
        ):
            value = macro(measures)
            if value is not None:
                tiles.append((name, value, f"{hint}, mean of {len(group)}"))
    events = macro([one.event_f1 for one in report.targets])
    if events is not None:
        tiles.append(("event F1", events, "found, and in the right place"))
    return tiles


def _contents(report: Report, gate: bool, placed: bool) -> list[tuple[str, str]]:
    has_targets = bool(report.targets)
    sections = [
        ("short", "In short", True),
        ("gate", "Bounds", gate),
        ("targets", "Categories and sounds", has_targets),
        ("calibration", "Calibration", has_targets),
        ("where", "Places", placed),
        ("confusion", "Confusion", has_targets and bool(report.confusion)),
        ("decisions", "Decisions", has_targets and bool(report.decisions)),
        ("slices", "Slices", bool(report.slices)),
        ("identity", "Identity", report.identity is not None),
        ("false-positives", "False alarms", bool(report.false_positives)),
        ("false-negatives", "Misses", bool(report.false_negatives)),
        ("faults", "Not scored", bool(report.faults)),
        ("method", "Method", True),
    ]
    return [(id_, name) for id_, name, there in sections if there]


def _is_clear(gap: Gap | None) -> bool:
    return gap is not None and gap.clear


def _scale(measures: Sequence[Measure]) -> float:
    """The least round number that holds all intervals."""
    most = max(one.high or one.value or 0.0 for one in measures)
    return next((scale for scale in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0) if most <= scale), most)
