"""From the command's options to a profile and a page."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from aircheck import hardware
from aircheck.capacity import plots
from aircheck.capacity.errors import CapacityError
from aircheck.capacity.fleet_check import check_fleet
from aircheck.capacity.measure import Effort, Measurement, Tell
from aircheck.capacity.objective import Objective
from aircheck.capacity.planning import Assumptions, backlog, plan
from aircheck.capacity.profile import Profile
from aircheck.capacity.report import markdown, page, summary
from aircheck.capacity.running import Target
from aircheck.load.senders import connect
from aircheck.load.workload import Workload
from aircheck.reports import MarkdownBlock
from aircheck.server import Server
from aircheck.settings import Settings

PROFILE, REPORT, PLOT = "capacity.json", "capacity.html", "capacity.svg"
BLOCK = "capacity"  # of a Markdown file
DEMANDS = ("1000h/day", "10000h/day", "2000000h/month")
BACKLOGS = ("100000h in 30d",)
_PACKAGES = ("aircheck", "grpcio", "locust", "nvidia-pytriton", "torch")


@dataclass(frozen=True)
class Asked:
    """The options of `aircheck capacity` that concern a measurement."""

    url: str
    metrics_url: str
    objective: str
    gate: bool
    out: Path
    markdown: Path | None
    audio: str
    lengths: str
    step_s: float
    max_passes: int
    users: str
    fleet_check: bool
    tls: str
    allow_host: str
    assumptions: Assumptions


def measure(asked: Asked) -> bool:
    """Measures and writes; False where a gate does not hold.

    Raises CapacityError, LoadError, StartError, AircheckError, MarkdownError.
    """
    console = Console(stderr=True, highlight=False)
    objective = Objective.parse(asked.objective)
    if asked.gate != (objective.at is not None):
        raise CapacityError("--gate asks at a load, and only a gate does: --objective 'p95<8s at 15' --gate")
    if asked.markdown is not None:
        MarkdownBlock(asked.markdown, BLOCK)
    base = Workload.of(
        {"audio": asked.audio, "lengths": asked.lengths, "tls": asked.tls, "allow_host": asked.allow_host}
    )
    effort = Effort(asked.step_s, asked.max_passes, users=_users(asked.users))
    with _target(asked, console) as target:
        base.check_host(target.url)
        measurement = Measurement(target, base, objective, effort, _told(console))
        console.print(f"warming {target.url}")
        measurement.warm()
        if objective.at is not None:
            return _gate(measurement, objective.at, objective, console)
        profile = measurement.profile(_conditions(target, base, asked))
    write(profile, asked.assumptions, asked.out, asked.markdown)
    if asked.fleet_check:
        console.print("two servers, each on half of the cores")
        checked = check_fleet(base, objective, effort, _told(console))
        profile = profile.model_copy(update={"checked": (*profile.checked, *checked)})
        write(profile, asked.assumptions, asked.out, asked.markdown)
    print(summary(profile))
    print(f"report: {asked.out / REPORT}; plans: aircheck capacity --plan 2000000h/month --price 2.49")
    return True


def write(profile: Profile, assumptions: Assumptions, out: Path, markdown_file: Path | None) -> None:
    """Profile, page with a few plans, plot. Raises CapacityError, MarkdownError."""
    profile.write(out / PROFILE)
    has_knee = profile.knee.load > 0
    plans = [plan(profile, demand, assumptions) for demand in DEMANDS if has_knee]
    backlogs = [backlog(profile, text, assumptions) for text in BACKLOGS if has_knee]
    (out / REPORT).write_text(page(profile, plans, backlogs), encoding="utf-8")
    plots.overview(profile).savefig(out / PLOT, metadata={"Date": None})
    if markdown_file is not None:
        plot = os.path.relpath(out / PLOT, markdown_file.parent)
        MarkdownBlock(markdown_file, BLOCK).write(markdown(profile, plans, plot))


def _gate(measurement: Measurement, load: float, objective: Objective, console: Console) -> bool:
    held, steps = measurement.holds(load)
    faults = [step.missed for step in steps if not step.is_kept]
    print(f"{objective}: {'held' if held else 'NOT held'}" + (f" ({'; '.join(faults)})" if faults else ""))
    return held


@contextlib.contextmanager
def _target(asked: Asked, console: Console) -> Iterator[Target]:
    if asked.url:
        yield Target(asked.url, asked.metrics_url, None, asked.allow_host)
        return
    console.print("starting a server on free ports of 127.0.0.1")
    with Server(Settings.load(grpc_port=0, metrics_port=0)) as server:
        yield Target(server.url, server.metrics_url, server.pid)


def _conditions(target: Target, base: Workload, asked: Asked) -> dict[str, Any]:
    with connect(target.url, base) as client:
        info = client.info()
    models = ", ".join(f"{model.role} {model.name} {model.version}" for model in info.models)
    return {
        "command": shlex.join(["aircheck", *sys.argv[1:]]),
        **hardware.facts(_PACKAGES),
        "server": info.server_version,
        "models": models,
        "audio": Path(asked.audio).name or "the sample episode",
        "step_s": asked.step_s,
    }


def _told(console: Console) -> Tell:
    return lambda line: console.print(f"  {line}", soft_wrap=True, markup=False)


def _users(text: str) -> tuple[int, ...]:
    try:
        users = tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError:
        users = ()
    if not users or users[0] < 1 or users[-1] > 1000:
        raise CapacityError(f"users {text!r}: wants numbers from 1 to 1000, as 1,2,4,8,16")
    return users
