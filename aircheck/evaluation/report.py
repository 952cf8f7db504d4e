"""One report of a run, in three forms: a page with plots, numbers as JSON, tables for a Markdown file."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.calibration import calibration_curve
from sklearn.metrics import precision_recall_curve

from aircheck.evaluation.figures import MIN_ITEMS, UNDER_SPEECH_FIGURES
from aircheck.evaluation.gate import Outcome
from aircheck.evaluation.items import TARGETS, DataError
from aircheck.evaluation.statistics import N_BINS
from aircheck.evaluation.table import Table
from aircheck.reports import html_page, markdown_table, svg

_N_MISTAKES = 25
_MAX_POINTS = 200  # of a curve
_OF_TARGETS = """precision recall false_positive_rate auc average_precision recall_at_5pct_fpr calibration_error
    flagged_per_hour""".split()
_OF_PARTS = [
    *"hate.auc hate.recall_at_5pct_fpr recall false_alarms flagged recall_group_gap false_alarms_group_gap".split(),
    *"flagged_per_hour flagged_per_hour_beside_profanity blocked_per_hour false_events_per_hour wer followed".split(),
    *UNDER_SPEECH_FIGURES.values(),
]
_UNITS = ("auc", "average_precision", "calibration_error", "score_group_gap", "errors")  # no percentages
METHOD = (
    "Intervals are 95 %: Wilson's for shares, Poisson's for rates an hour, a percentile bootstrap for rankings and "
    "word error rates. They speak of other items like these. A slice of fewer than 30 items is shown as counts. "
    "Recall, false positives and flagged are at the thresholds of the policy pack; only items whose truth is known "
    "count for a target. The mean over categories takes each category's mean over the data sets that hold it."
)


@dataclass(frozen=True)
class Measured:
    """What a run found."""

    conditions: Mapping[str, str]  # what the figures depend on
    faults: Sequence[str]  # what could not be scored, and why
    figures: pd.DataFrame  # a row a figure (`figures.row`)
    table: Table | None = None  # of the items, where there are any whose targets are those of the taxonomy


@dataclass(frozen=True)
class Report:
    """What a run found, and how that stands to a gate and to an earlier run (`before`, values by name)."""

    title: str
    command: str
    measured: Measured
    outcomes: Sequence[Outcome]
    before: Mapping[str, float | None] = field(default_factory=dict)

    def json(self) -> str:
        """`figures` by name, and everything that says what was measured."""
        fields = ["value", "low", "high", "hits", "of", "n"]
        rounded = self.measured.figures.set_index("name")[fields].astype(float).round(6)
        content = {
            "title": self.title,
            "command": self.command,
            "conditions": dict(self.measured.conditions),
            "faults": list(self.measured.faults),
            "gate": [asdict(one) for one in self.outcomes],
            "figures": rounded.astype(object).where(rounded.notna(), None).to_dict("index"),
        }
        return json.dumps(content, indent=1, ensure_ascii=False) + "\n"

    def markdown(self) -> str:
        """The tables, for a Markdown file."""
        models = "; ".join(f"{name} {value}" for name, value in self.measured.conditions.items())
        parts = [f"`{self.command}`\n\n{models}."]
        parts += [f"**{title}**\n\n{markdown_table(table)}" for title, table in self._tables(by_class=False)]
        return "\n\n".join(parts)

    def html(self) -> str:
        """The page."""
        found, table = self.measured, self.measured.table
        parts = [f"<h1>{html.escape(self.title)}</h1>\n<p><code>{html.escape(self.command)}</code></p>"]
        parts.append(_html_list(f"{name}: {value}" for name, value in found.conditions.items()))
        parts += [f"<h2>{html.escape(title)}</h2>{_html_table(own)}" for title, own in self._tables(by_class=True)]
        charts = [_curves(table) if table else "", _bars(found.figures, "language", "auc", "hate")]
        charts += [_bars(found.figures, "language", "wer"), _bars(found.figures, "policy", "followed")]
        charts += [_bars(found.figures, "kind", name) for name in ("false_alarms", "recall", "flagged")]
        parts.append(f"<h2>Plots</h2>{''.join(charts)}")
        if table:
            parts += [f"<h2>{title}</h2>{_html_table(own)}" for title, own in _mistakes(table)]
        if found.faults:
            parts.append(f"<h2>Not scored</h2>{_html_list(found.faults)}")
        parts.append(f"<h2>How it was measured</h2><p>{METHOD}</p>")
        return html_page(f"evaluate: {self.title}", parts)

    def summary(self) -> list[tuple[str, pd.DataFrame]]:
        """The bounds and the figures over everything, for a terminal."""
        shown = ("Bounds", "By target", "In all")
        return [(title, table) for title, table in self._tables(by_class=False) if title in shown]

    def _tables(self, by_class: bool) -> Iterator[tuple[str, pd.DataFrame]]:
        """Titles and tables, the gate first. `by_class`: functional classes too, which are many."""
        if self.outcomes:
            bounds = pd.DataFrame([asdict(one) for one in self.outcomes])
            bounds.insert(2, "before", bounds["name"].map(self.before))
            bounds.columns = ["figure", "bound", "before", "measured", "held"]
            bounds[["before", "measured"]] = bounds[["before", "measured"]].map(_bare)
            bounds["held"] = bounds["held"].map({True: "yes", False: "**no**"})
            yield "Bounds", bounds if self.before else bounds.drop(columns="before")
        figures = self.measured.figures
        figures = figures.assign(cell=[_cell(row) for row in figures.itertuples()])
        is_target = figures["target"].isin(TARGETS)
        over_all = figures[(figures["by"] == "") & ~is_target]
        yield "In all", over_all[["name", "cell", "n"]].set_axis(["figure", "value", "items"], axis=1)
        of_targets = figures[(figures["by"] == "") & is_target]
        if len(of_targets):
            yield "By target", _pivot(of_targets, "target", _OF_TARGETS)
        for by, own in figures[figures["by"] != ""].groupby("by", sort=False):
            if by_class or not str(by).endswith("kind"):
                labels = (own["target"] + "." + own["figure"]).str.lstrip(".")
                yield f"By {by}", _pivot(own.assign(figure=labels), "part", _OF_PARTS)


def read_values(path: Path) -> dict[str, float | None]:
    """The values of the figures in a JSON report, by name. Raises DataError."""
    try:
        figures = json.loads(path.read_text(encoding="utf-8"))["figures"]
        return {name: figure["value"] for name, figure in figures.items()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: is no JSON report of `aircheck evaluate`: {error}") from None


def _curves(table: Table) -> str:
    """Precision over recall, and the share that is true over the score, of each target that has enough items."""
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    ranking, reliability = figure.subplots(1, 2)
    for target in TARGETS:
        known = table.known(target)
        if len(known) < MIN_ITEMS or known["true"].nunique() < 2:
            continue
        precision, recall, _ = precision_recall_curve(known["true"], known["score"])
        step = max(1, len(recall) // _MAX_POINTS)
        ranking.plot(recall[::step], precision[::step], label=target, linewidth=1)
        share, score = calibration_curve(known["true"], known["score"], n_bins=N_BINS)
        reliability.plot(score, share, marker=".", label=target, linewidth=1)
    if not ranking.lines:
        return ""
    ranking.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02), title="Precision and recall")
    reliability.plot([0, 1], [0, 1], color="grey", linestyle=":")
    reliability.set(xlabel="score", ylabel="share that is true", xlim=(0, 1), ylim=(0, 1.02), title="Reliability")
    ranking.legend(fontsize="x-small")
    return svg(figure)


def _bars(figures: pd.DataFrame, by: str, figure: str, target: str = "") -> str:
    """One figure of every part that has enough items, with its interval; the parts from worst to best."""
    own = figures[(figures["by"] == by) & (figures["figure"] == figure) & (figures["target"] == target)]
    own = own[own["value"].notna() & (own["n"] >= MIN_ITEMS)]
    if len(own) < 2:
        return ""
    own = own.sort_values("value", ascending=figure in ("false_alarms", "flagged", "wer"))
    plot = Figure(figsize=(8, 0.8 + 0.22 * len(own)), layout="constrained")
    axes = plot.subplots()
    spread = np.abs(own[["low", "high"]].sub(own["value"], axis=0).fillna(0.0).to_numpy(float).T)
    axes.barh(own["part"], own["value"].astype(float), xerr=spread, color="#7aa6c2", ecolor="#444444")
    axes.set(xlim=(0, None), title=" ".join(part for part in (target, figure.replace("_", " "), "by", by) if part))
    axes.tick_params(labelsize="x-small")
    return svg(plot)


def _pivot(figures: pd.DataFrame, rows: str, columns: Sequence[str]) -> pd.DataFrame:
    table = figures.pivot(index=rows, columns="figure", values="cell").fillna("–")
    table.insert(0, "items", figures.groupby(rows)["n"].max())
    shown = ["items", *(name for name in columns if name in table.columns)]
    return table.loc[figures[rows].unique(), shown].reset_index()


def _cell(row: object) -> str:
    """`82 % (74 to 90)`; `3 of 12` where that says more; a number for what is no share."""
    figure = str(row.figure).rpartition(".")[2]  # type: ignore[attr-defined]  # a row of the figures' frame
    value, low, high, hits, of, n = (getattr(row, name) for name in ("value", "low", "high", "hits", "of", "n"))
    if pd.isna(value):
        return "–"
    per_hour = "per_hour" in figure
    if n < MIN_ITEMS and not pd.isna(hits):
        return f"{hits:.0f} in {of:.2f} h" if per_hour else f"{hits:.0f} of {of:.0f}"
    form = _bare if per_hour or figure in _UNITS else _percent
    interval = "" if pd.isna(low) else f" ({form(low).removesuffix(' %')} to {form(high).removesuffix(' %')})"
    return form(value) + interval


def _percent(value: float) -> str:
    digits = 0 if value >= 0.0995 or value == 0 else 1 if value >= 0.001 else 2
    return f"{value * 100:.{digits}f} %"


def _bare(value: float) -> str:
    return "–" if pd.isna(value) else f"{value:.{1 if value >= 10 else 2}f}"


def _mistakes(table: Table) -> Iterator[tuple[str, pd.DataFrame]]:
    """The surest false alarms and misses, by id: the data are not ours to quote."""
    known = pd.concat([table.known(target).assign(target=target) for target in TARGETS])
    for title, true, ascending in (("The surest false alarms", False, False), ("The worst misses", True, True)):
        wrong = known[(known["true"] == true) & (known["found"] != true)].join(table.items[["id", "source"]])
        if len(wrong):
            worst = wrong.sort_values("score", ascending=ascending).head(_N_MISTAKES).round(3)
            yield title, worst[["id", "source", "target", "score"]]


def _html_list(entries: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{html.escape(one)}</li>' for one in entries)}</ul>"


def _html_table(table: pd.DataFrame) -> str:
    return str(table.to_html(index=False, border=0)).replace("**no**", "<b>no</b>")
