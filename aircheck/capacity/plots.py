"""The report's plots, by matplotlib, as SVG text."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aircheck.capacity.profile import Profile

_X = "offered, audio seconds a second"


def overview(profile: Profile) -> Figure:
    """Achieved load, latency, queues and use over offered load."""
    figure = Figure(figsize=(11, 7.5), layout="constrained")
    achieved, latency, queues, use = figure.subplots(2, 2).ravel()
    _achieved(achieved, profile)
    _latency(latency, profile)
    _queues(queues, profile)
    _use(use, profile)
    for axes in (achieved, latency, queues, use):
        axes.axvline(profile.knee.load, color="grey", linestyle=":", linewidth=1)
        axes.set(xlabel=_X, xlim=(0, None), ylim=(0, None))
        axes.grid(alpha=0.25)
    return figure


def _achieved(axes: Axes, profile: Profile) -> None:
    loads = [step.offered for step in profile.open]
    top = max([*loads, profile.knee.saturated])
    axes.plot([0, top], [0, top], color="grey", linewidth=0.7, label="all of it")
    axes.plot(loads, [step.achieved for step in profile.open], "o", label="achieved", markersize=4)
    axes.plot(loads, [step.goodput for step in profile.open], "x", label="in time (goodput)", markersize=5)
    axes.axhline(profile.knee.saturated, color="#aa5555", linewidth=0.8, label="closed loop, at most")
    axes.set(title="Achieved and goodput", ylabel="audio seconds a second")
    axes.legend(fontsize="x-small")


def _latency(axes: Axes, profile: Profile) -> None:
    for name, marker in (("p50", "."), ("p95", "o"), ("p99", "^")):
        own = [step for step in profile.open if name in step.latencies]
        axes.plot([step.offered for step in own], [step.latencies[name] for step in own], marker, label=name)
    axes.axhline(profile.objective.latency_s, color="#aa5555", linewidth=0.8, label="objective")
    axes.set(title="Latency from the intended start", ylabel="s")
    axes.legend(fontsize="x-small")


def _queues(axes: Axes, profile: Profile) -> None:
    names = sorted({name for step in profile.open for name in step.stages})
    for name in names:
        own = [step for step in profile.open if name in step.stages]
        axes.plot([step.offered for step in own], [step.stages[name].queue_ms or 0 for step in own], ".", label=name)
    own = [step for step in profile.open if step.turn_ms is not None]
    axes.plot([step.offered for step in own], [step.turn_ms or 0 for step in own], "x", label="gateway: turn")
    axes.set(title="Mean wait of a window", ylabel="ms")
    axes.legend(fontsize="x-small")


def _use(axes: Axes, profile: Profile) -> None:
    for name in ("cpu_use", "gpu_use"):
        own = [step for step in profile.open if getattr(step, name) is not None]
        if own:
            values = [100 * getattr(step, name) for step in own]
            axes.plot([step.offered for step in own], values, "o", label=name[:3].upper(), markersize=4)
    axes.set(title="Use of the machine, load generator included", ylabel="%")
    if axes.lines:
        axes.legend(fontsize="x-small")
