"""`aircheck capacity`: what a machine carries, and how many are needed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from aircheck.capacity.planning import Assumptions
    from aircheck.capacity.profile import Profile

PROFILE = "capacity.json"  # in --out


def capacity(
    url: Annotated[str, typer.Option(help="A server's HOST:PORT; else one is started here.")] = "",
    metrics_url: Annotated[str, typer.Option(help="Its metrics, as http://127.0.0.1:8002/metrics.")] = "",
    objective: Annotated[
        str, typer.Option(help="p95<8s: that of clips from the intended start; p95<8s at 15: at this load.")
    ] = "p95<10s",
    gate: Annotated[
        bool, typer.Option("--gate", help="Only ask whether the objective holds at its load; exit 1: it does not.")
    ] = False,
    plan: Annotated[list[str] | None, typer.Option(help="Answer from the profile: 2000000h/month, 500h/day.")] = None,
    backlog: Annotated[list[str] | None, typer.Option(help="The same for a catalogue: '500000h in 30d'.")] = None,
    price: Annotated[float | None, typer.Option(help="Of a machine hour, in any currency.", min=0)] = None,
    headroom: Annotated[float, typer.Option(help="Share of a machine that is kept free.", min=0, max=0.9)] = 0.3,
    peak: Annotated[float, typer.Option(help="The busiest hour over the mean one.", min=1, max=100)] = 2.0,
    spare: Annotated[int, typer.Option(help="Replicas that may be lost.", min=0, max=100)] = 1,
    profile: Annotated[Path | None, typer.Option(help="Of an earlier run; default: that in --out.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of report and profile.")] = Path("out/capacity"),
    markdown: Annotated[
        Path | None, typer.Option(help="Also renew the table between this file's capacity marks.")
    ] = None,
    audio: Annotated[str, typer.Option(help="A recording, or a folder, to cut clips from; else the sample.")] = "",
    lengths: Annotated[str, typer.Option(help="Of clips in s: 30, uniform:5,30, lognormal:12,0.6, file:F.")] = "30",
    step: Annotated[float, typer.Option(help="Seconds of each load.", min=2, max=3600)] = 60.0,
    passes: Annotated[int, typer.Option(help="Most walks to the knee.", min=1, max=20)] = 5,
    users: Annotated[str, typer.Option(help="Of the closed loop.")] = "1,2,4,8,16",
    fleet_check: Annotated[
        bool, typer.Option("--fleet-check", help="Also measure two servers, each on half of the cores.")
    ] = False,
    tls: Annotated[str, typer.Option(help="To --url: system, or a file of PEM roots; a token: AIRCHECK_TOKEN.")] = "",
    allow_host: Annotated[str, typer.Option(help="Another machine that --url may name; else only loopback.")] = "",
) -> None:
    r"""Measure what this machine carries, and plan machines and cost from it.

    Starts a server (or takes --url), warms it, finds the highest load that keeps the objective, again until two walks
    agree within 10 %, and writes a page with plots and a profile (JSON). Loads are audio seconds a second, that is
    audio hours an hour. Leave the machine alone meanwhile; with the defaults it takes about 20 minutes. Wants the extra
    `load` (pip install 'aircheck\[load]').

    [bold]aircheck capacity[/]                                      measure
    [bold]aircheck capacity --plan 2000000h/month --price 2.49[/]   from what was measured
    [bold]aircheck capacity --backlog '500000h in 30d'[/]           a back catalogue
    [bold]aircheck capacity --objective 'p95<8s at 15' --gate[/]    for CI

    Exit code: 0 measured, planned or held; 1 the objective does not hold; 2 a failure.
    """
    from aircheck.capacity.errors import CapacityError
    from aircheck.capacity.planning import Assumptions
    from aircheck.capacity.profile import Profile
    from aircheck.commands.serve import stop_on_sigterm
    from aircheck.gateway.errors import StartError
    from aircheck.load.errors import LoadError
    from aircheck.reports import MarkdownError
    from aircheck.settings import SettingsError
    from aircheck_client.errors import AircheckError

    stop_on_sigterm()
    assumptions = Assumptions(headroom=headroom, spare=spare, peak=peak, price=price)
    wanted = (tuple(plan or ()), tuple(backlog or ()))
    try:
        if any(wanted) or profile:
            _plan(Profile.read(profile or out / PROFILE), assumptions, *wanted, out)
            return
        from aircheck.capacity.entry import Asked, measure

        asked = Asked(
            url,
            metrics_url,
            objective,
            gate,
            out,
            markdown,
            audio,
            lengths,
            step,
            passes,
            users,
            fleet_check,
            tls,
            allow_host,
            assumptions,
        )
        held = measure(asked)
    except (CapacityError, LoadError, StartError, SettingsError, AircheckError, MarkdownError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    raise typer.Exit(0 if held else 1)


def _plan(
    found: Profile, assumptions: Assumptions, demands: tuple[str, ...], backlogs: tuple[str, ...], out: Path
) -> None:
    from aircheck.capacity import planning
    from aircheck.capacity.report import page, summary

    plans = [planning.plan(found, demand, assumptions) for demand in demands]
    catalogues = [planning.backlog(found, text, assumptions) for text in backlogs]
    typer.echo(f"one machine: {summary(found)}\n")
    for made in plans:
        typer.echo(planning.told(made))
    for catalogue in catalogues:
        typer.echo(planning.told_backlog(catalogue))
    out.mkdir(parents=True, exist_ok=True)
    (out / "plan.html").write_text(page(found, plans, catalogues), encoding="utf-8")
    typer.echo(f"with plots: {out / 'plan.html'}")
