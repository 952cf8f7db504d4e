"""The report's plots, by matplotlib, as SVG text."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.calibration import calibration_curve
from sklearn.metrics import precision_recall_curve

from aircheck.evaluation.figures import MIN_ITEMS
from aircheck.evaluation.items import TARGETS
from aircheck.evaluation.statistics import N_BINS
from aircheck.evaluation.table import Table
from aircheck.reports import svg

_MAX_POINTS = 200  # of a curve


def curves(table: Table) -> str | None:
    """Precision over recall, and the share that is true over the score, of each target that has enough items."""
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    ranking, reliability = figure.subplots(1, 2)
    for target, true, scores in _known(table):
        precision, recall, _ = precision_recall_curve(true, scores)
        step = max(1, len(recall) // _MAX_POINTS)
        ranking.plot(recall[::step], precision[::step], label=target, linewidth=1)
        share, score = calibration_curve(true, scores, n_bins=N_BINS)
        reliability.plot(score, share, marker=".", label=target, linewidth=1)
    if not ranking.lines:
        return None
    ranking.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02), title="Precision and recall")
    reliability.plot([0, 1], [0, 1], color="grey", linestyle=":")
    reliability.set(xlabel="score", ylabel="share that is true", xlim=(0, 1), ylim=(0, 1.02), title="Reliability")
    ranking.legend(fontsize="x-small")
    return svg(figure)


def bars(figures: pd.DataFrame, by: str, figure: str, target: str = "") -> str | None:
    """One figure of every part that has enough items, with its interval; the parts from worst to best."""
    own = figures[(figures["by"] == by) & (figures["figure"] == figure) & (figures["target"] == target)]
    own = own[own["value"].notna() & (own["n"] >= MIN_ITEMS)]
    if len(own) < 2:
        return None
    own = own.sort_values("value", ascending=figure in ("false_alarms", "flagged", "wer"))
    plot = Figure(figsize=(8, 0.8 + 0.22 * len(own)), layout="constrained")
    axes = plot.subplots()
    spread = np.abs(own[["low", "high"]].sub(own["value"], axis=0).fillna(0.0).to_numpy(float).T)
    axes.barh(own["part"], own["value"].astype(float), xerr=spread, color="#7aa6c2", ecolor="#444444")
    axes.set(xlim=(0, None), title=" ".join(part for part in (target, figure.replace("_", " "), "by", by) if part))
    axes.tick_params(labelsize="x-small")
    return svg(plot)


def _known(table: Table) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    for target in TARGETS:
        known = table.truth[target].notna() & table.scores[target].notna()
        true, scores = table.truth[target][known].to_numpy(float), table.scores[target][known].to_numpy(float)
        if len(true) >= MIN_ITEMS and 0 < true.sum() < len(true):
            yield target, true, scores
