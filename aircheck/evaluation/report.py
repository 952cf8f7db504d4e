"""One report of a run, in three forms: a page with plots, numbers as JSON, tables for a Markdown file."""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pandas as pd

from aircheck.evaluation import plots
from aircheck.evaluation.figures import MIN_ITEMS, UNDER_SPEECH_FIGURES
from aircheck.evaluation.gate import Outcome
from aircheck.evaluation.items import TARGETS, DataError
from aircheck.evaluation.table import Table
from aircheck.reports import html_page, markdown_table

_N_MISTAKES = 25
_TALK = ["flagged_per_hour", "flagged_per_hour_beside_profanity", "blocked_per_hour"]
_OF_TARGETS = ["precision", "recall", "false_positive_rate", "auc", "average_precision", "recall_at_5pct_fpr"]
_OF_TARGETS += ["calibration_error"]
_OF_PARTS = ["hate.auc", "hate.recall_at_5pct_fpr", "recall", "false_alarms", "flagged", "recall_group_gap"]
_OF_PARTS += [
    "false_alarms_group_gap",
    *_TALK,
    "false_events_per_hour",
    "wer",
    "followed",
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
    """What a run found.

    Attributes:
        conditions: what the figures depend on.
        faults: what could not be scored, and why.
        figures: a row a figure (`figures.row`).
        table: of the items, where there are any whose targets are those of the taxonomy.
    """

    conditions: Mapping[str, str]
    faults: Sequence[str]
    figures: pd.DataFrame
    table: Table | None = None


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
        rows = rounded.to_dict("index").items()
        named = {name: {key: None if pd.isna(value) else value for key, value in row.items()} for name, row in rows}
        content = {
            "title": self.title,
            "command": self.command,
            "conditions": dict(self.measured.conditions),
            "faults": list(self.measured.faults),
            "gate": [asdict(one) for one in self.outcomes],
            "figures": named,
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
        facts = [f"<li>{html.escape(f'{name}: {value}')}</li>" for name, value in found.conditions.items()]
        parts = [f"<h1>{html.escape(self.title)}</h1>\n<p><code>{html.escape(self.command)}</code></p>"]
        parts.append(f"<ul>{''.join(facts)}</ul>")
        parts += [f"<h2>{html.escape(title)}</h2>{_html_table(own)}" for title, own in self._tables(by_class=True)]
        charts = [plots.curves(table) if table else None, plots.bars(found.figures, "language", "auc", "hate")]
        charts += [plots.bars(found.figures, "language", "wer"), plots.bars(found.figures, "policy", "followed")]
        charts += [plots.bars(found.figures, "kind", name) for name in ("false_alarms", "recall", "flagged")]
        parts.append(f"<h2>Plots</h2>{''.join(chart for chart in charts if chart)}")
        if table:
            parts += [f"<h2>{title}</h2>{_html_table(own)}" for title, own in _mistakes(table)]
        if found.faults:
            parts.append(
                f"<h2>Not scored</h2><ul>{''.join(f'<li>{html.escape(one)}</li>' for one in found.faults)}</ul>"
            )
        parts.append(f"<h2>How it was measured</h2><p>{METHOD}</p>")
        return html_page(f"evaluate: {self.title}", parts)

    def summary(self) -> list[tuple[str, pd.DataFrame]]:
        """The figures over everything, for a terminal."""
        return [(title, table) for title, table in self._tables(by_class=False) if title in ("By target", "In all")]

    def _tables(self, by_class: bool) -> Iterator[tuple[str, pd.DataFrame]]:
        """Titles and tables, the gate first. `by_class`: functional classes too, which are many."""
        if self.outcomes:
            rows = [
                (
                    one.name,
                    one.bound,
                    _bare(self.before.get(one.name)),
                    _bare(one.value),
                    "yes" if one.passed else "**no**",
                )
                for one in self.outcomes
            ]
            bounds = pd.DataFrame(rows, columns=["figure", "bound", "before", "measured", "held"])
            yield "Bounds", bounds if self.before else bounds.drop(columns="before")
        figures = self.measured.figures
        whole = figures[figures["by"] == ""]
        over_all = whole[~whole["target"].isin(TARGETS)]
        cells = [_cell(row) for row in over_all.itertuples()]
        yield "In all", pd.DataFrame({"figure": over_all["name"], "value": cells, "items": over_all["n"]})
        of_targets = whole[whole["target"].isin(TARGETS)]
        if len(of_targets):
            yield "By target", _pivot(of_targets, "target", _OF_TARGETS + _TALK[:1])
        for by in dict.fromkeys(figures["by"]):
            if by and (by_class or not by.endswith("kind")):
                own = figures[figures["by"] == by]
                labels = (own["target"] + "." + own["figure"]).str.lstrip(".")
                yield f"By {by}", _pivot(own.assign(figure=labels), "part", _OF_PARTS)


def read_values(path: Path) -> dict[str, float | None]:
    """The values of the figures in a JSON report, by name. Raises DataError."""
    try:
        return {
            name: figure["value"] for name, figure in json.loads(path.read_text(encoding="utf-8"))["figures"].items()
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: is no JSON report of `aircheck evaluate`: {error}") from None


def _pivot(figures: pd.DataFrame, rows: str, columns: Sequence[str]) -> pd.DataFrame:
    cells = figures.assign(cell=[_cell(row) for row in figures.itertuples()])
    table = cells.pivot(index=rows, columns="figure", values="cell").fillna("–")
    table.insert(0, "items", figures.groupby(rows)["n"].max())
    order = list(dict.fromkeys(figures[rows]))
    shown = ["items", *(name for name in columns if name in table.columns)]
    return table.loc[order, shown].reset_index()


def _cell(row: object) -> str:
    """`82 % (74 to 90)`; `3 of 12` where that says more; a number for what is no share."""
    figure = str(row.figure).rpartition(".")[2]  # type: ignore[attr-defined]  # a row of the figures' frame
    value, low, high, hits, of, n = (getattr(row, name) for name in ("value", "low", "high", "hits", "of", "n"))
    if pd.isna(value):
        return "–"
    per_hour = "per_hour" in figure
    if n < MIN_ITEMS and not pd.isna(hits):
        return f"{hits:.0f} in {of:.2f} h" if per_hour else f"{hits:.0f} of {of:.0f}"
    form: Callable[[float], str] = _bare if per_hour or figure in _UNITS else _percent
    interval = "" if pd.isna(low) else f" ({form(low).removesuffix(' %')} to {form(high).removesuffix(' %')})"
    return form(value) + interval


def _percent(value: float) -> str:
    percent = value * 100
    return (
        f"{percent:.0f} %"
        if percent >= 9.95 or percent == 0
        else f"{percent:.1f} %"
        if percent >= 0.1
        else f"{percent:.2f} %"
    )


def _bare(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _mistakes(table: Table) -> Iterator[tuple[str, pd.DataFrame]]:
    """The surest false alarms and misses, by id: the data are not ours to quote."""
    scores = table.scores.stack().rename("score")
    true, found = (frame.stack().reindex(scores.index) for frame in (table.truth, table.found))
    for title, chosen, ascending in (
        ("The surest false alarms", true.eq(0) & found, False),
        ("The worst misses", true.eq(1) & ~found, True),
    ):
        worst = scores[chosen].sort_values(ascending=ascending).head(_N_MISTAKES)
        if len(worst):
            rows = table.items.loc[[row for row, _ in worst.index], ["id", "source"]]
            targets = [target for _, target in worst.index]
            yield title, rows.assign(target=targets, score=worst.round(3).to_numpy())


def _html_table(table: pd.DataFrame) -> str:
    return str(table.to_html(index=False, border=0)).replace("**no**", "<b>no</b>")
