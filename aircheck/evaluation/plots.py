"""The report's plots, by matplotlib, as SVG text."""

from __future__ import annotations

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


def curves(table: Table) -> str:
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


def bars(figures: pd.DataFrame, by: str, figure: str, target: str = "") -> str:
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
