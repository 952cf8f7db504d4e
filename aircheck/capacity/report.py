"""The page of a measurement: what was found, plots, every step, and how it was measured."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence

import pandas as pd

from aircheck.capacity import plots
from aircheck.capacity.planning import BURST_TIMES, Assumptions, Backlog, Plan
from aircheck.capacity.profile import Profile
from aircheck.capacity.steps import Step
from aircheck.reports import html_page, markdown_table, svg

METHOD = (
    "Loads are in audio seconds a second, which is audio hours a machine hour. Open loop: arrivals are Poisson, given "
    "their number, and do not wait for answers; latency counts from the intended start, so a client that falls behind "
    "hides nothing; late starts are counted. Closed loop: each user calls again when it was answered. Achieved and "
    "goodput are what was answered, and answered in time, over the time to the end of the step or to the last answer, "
    "whichever is later. A pass walks upwards, to 95 % of the closed loop at most, until a step misses the objective, "
    "then halves between the last kept and the first missed load; passes are repeated with other seeds until two in "
    "turn agree within 10 %. Batches and queue times are Triton's, means over the step; those of whisper are its "
    "engine's, whose batch is its slots in use. CPU use is the whole machine's, with the load generator on it."
)


def page(profile: Profile, plans: Sequence[Plan] = (), backlogs: Sequence[Backlog] = ()) -> str:
    """HTML, complete in itself."""
    parts = [f"<h1>Capacity: {html.escape(summary(profile))}</h1>"]
    facts = [f"<li>{html.escape(f'{name}: {value}')}</li>" for name, value in profile.conditions.items()]
    parts.append(f"<ul>{''.join(facts)}</ul>")
    parts.append(svg(plots.overview(profile)))
    for title, table in _tables(profile, plans, backlogs):
        parts.append(f"<h2>{html.escape(title)}</h2>{table.to_html(index=False, border=0)}")
    parts.append(f"<h2>How it was measured</h2><p>{METHOD}</p>")
    return html_page("capacity", parts)


def summary(profile: Profile) -> str:
    """One sentence."""
    knee = profile.knee
    stable = "" if knee.is_stable else ", NOT stable within 10 %"
    return (
        f"{knee.load:.1f} audio hours a machine hour with {profile.objective} ({len(knee.passes)} passes{stable}); "
        f"{knee.saturated:.1f} at most; {knee.stage} makes the knee"
    )


def markdown(profile: Profile, plans: Sequence[Plan], plot: str) -> str:
    """The plot (a link), the open loop's steps and the plans, for a README."""
    conditions = profile.conditions
    machine = f"{conditions.get('cores')} cores of {conditions.get('cpu')}, GPU: {conditions.get('gpu') or 'none'}"
    columns = ["offered", "achieved", "goodput", "p50", "p95", "p99", "CPU", "objective"]
    steps = _steps(profile.open).reindex(columns=columns)
    parts = [
        f"`{conditions.get('command')}`, {machine}, {conditions.get('date')}; clips of {profile.lengths} s of "
        f"{conditions.get('audio')}; load generator on the same machine.",
        f"**{summary(profile)}** ({profile.knee.stage_why}).",
        f"![Achieved load, latency, waits and CPU use over offered load]({plot})",
        markdown_table(steps),
    ]
    if profile.agreement:
        ratios = ", ".join(f"{one.figure.removesuffix(', s')} {one.ratio:.2f}" for one in profile.agreement)
        parts.append(f"A second, independent client at {profile.agreement[0].load:g}: {ratios} of Locust's.")
    if plans:
        parts += [f"Plans ({_assumed(plans[0].assumptions)}):", markdown_table(_in_short(_plans(plans)))]
    return "\n\n".join(parts)


def _tables(profile: Profile, plans: Sequence[Plan], backlogs: Sequence[Backlog]) -> Iterator[tuple[str, pd.DataFrame]]:
    knee = profile.knee
    rows = [
        ("knee, audio seconds a second", f"{knee.load:.2f}"),
        ("of each pass", ", ".join(f"{load:.2f}" for load in knee.passes)),
        ("the last two agree within 10 %", "yes" if knee.is_stable else "no"),
        ("closed loop, at most", f"{knee.saturated:.2f}"),
        ("what makes it", f"{knee.stage}: {knee.stage_why}"),
        ("30 s windows a second at the knee", f"{knee.load / 30:.2f}"),
    ]
    yield "The knee", pd.DataFrame(rows, columns=["", "value"])
    if plans:
        yield f"Plans ({_assumed(plans[0].assumptions)})", _plans(plans)
    if backlogs:
        yield f"Backlogs ({backlogs[0].assumptions.headroom:.0%} headroom, no spare)", _backlogs(backlogs)
    yield "Open loop", _steps(profile.open)
    yield "Closed loop", _steps(profile.closed)
    stages = [
        {"offered": step.offered, "model": name, **stage.model_dump()}
        for step in sorted(profile.open, key=lambda step: step.offered)
        for name, stage in step.stages.items()
    ]
    if stages:
        yield "Each model", pd.DataFrame(stages)
    if profile.agreement:
        rows_of = [
            (one.load, one.figure, one.locust, one.independent, f"{one.ratio:.2f}", "yes" if one.agrees else "NO")
            for one in profile.agreement
        ]
        columns = ["load", "figure", "Locust", "asyncio", "ratio", "within 10 %"]
        yield "A second, independent client at the same load", pd.DataFrame(rows_of, columns=columns)
    if profile.checked:
        yield "The simulation against measured servers", pd.DataFrame([one.model_dump() for one in profile.checked])


def _steps(steps: Sequence[Step]) -> pd.DataFrame:
    rows = [
        {
            "users" if step.loop == "closed" else "offered": step.users if step.loop == "closed" else step.offered,
            "achieved": step.achieved,
            "goodput": step.goodput,
            "calls": step.calls,
            **step.latencies,
            "refused": step.refused,
            "errors": ", ".join(f"{count} {kind}" for kind, count in step.errors.items()) or "none",
            "late": step.late_starts,
            "growth": f"{step.growth:.2f}",
            "turn ms": _or_dash(step.turn_ms),
            "CPU": _or_dash(step.cpu_use),
            "GPU": _or_dash(step.gpu_use),
            "objective": "kept" if step.is_kept else step.missed,
        }
        for step in sorted(steps, key=lambda step: (step.users, step.offered))
    ]
    return pd.DataFrame(rows)


def _plans(plans: Sequence[Plan]) -> pd.DataFrame:
    rows = [
        {
            "demand": made.demand,
            "audio h an hour": made.audio_hours_per_hour,
            "at the peak": made.peak_audio_hours_per_hour,
            "a machine": made.audio_hours_per_machine_hour,
            "machines": made.machines,
            f"simulated p{made.objective.percentile}, s": made.simulated_s,
            f"with {made.assumptions.spare} lost": made.simulated_lost_s,
            "objective": "missed" if made.is_missed else "kept",
            f"in a burst of {BURST_TIMES:g}×": made.simulated_burst_s,
            "machine h for 1,000 h": made.machine_hours_per_1000_hours,
            "cost a month": _shown(made.cost_per_month),
            "cost of 1,000 h": _shown(made.cost_per_1000_hours),
            "if machines follow the load": _shown(made.cost_per_1000_hours_scaled),
        }
        for made in plans
    ]
    return pd.DataFrame(rows)


def _in_short(plans: pd.DataFrame) -> pd.DataFrame:
    """What fits a page of text."""
    wanted = ("demand", "at the peak", "a machine", "machines", "simulated", "objective", "in a burst", "cost")
    return plans[[name for name in plans if name.startswith(wanted)]]


def _backlogs(backlogs: Sequence[Backlog]) -> pd.DataFrame:
    rows = [
        {
            "backlog": made.backlog,
            "a machine": made.audio_hours_per_machine_hour,
            "machines": made.machines,
            "machine h for 1,000 h": made.machine_hours_per_1000_hours,
            "cost": _shown(made.cost),
            "cost of 1,000 h": _shown(made.cost_per_1000_hours),
        }
        for made in backlogs
    ]
    return pd.DataFrame(rows)


def _assumed(assumptions: Assumptions) -> str:
    return (
        f"{assumptions.headroom:.0%} headroom, {assumptions.spare} replica to lose, peak {assumptions.peak:g} times "
        "the mean"
    )


def _or_dash(value: float | None) -> float | str:
    return "–" if value is None else value


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:,.2f}"
