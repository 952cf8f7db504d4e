"""`aircheck doctor`: whether a server can run here as it is configured, and what to do where not."""

from __future__ import annotations

from typing import Annotated

import typer


def doctor(
    profile: Annotated[str | None, typer.Option(help="embedded, gpu, or a path to a YAML file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="A line of JSON for each check.")] = False,
) -> None:
    """Look at versions, GPU, memory, ports, weights and settings: one line each, with its remedy.

    Settings are those that `aircheck serve` would take. Exit code: 0; 1 where something is a fault; 2 where the
    settings cannot be read.
    """
    import json
    from dataclasses import asdict

    from rich.console import Console

    from aircheck.doctor.examination import examine
    from aircheck.doctor.result import Level
    from aircheck.settings import Settings, SettingsError

    marks = {Level.OK: "[green]✓[/]", Level.NOTE: "[yellow]![/]", Level.FAULT: "[red]✗[/]"}
    console = Console(highlight=False, soft_wrap=True)
    try:
        settings = Settings.load(profile=profile)
    except SettingsError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from None
    has_fault = False
    for result in examine(settings):
        has_fault = has_fault or result.level is Level.FAULT
        if as_json:
            typer.echo(json.dumps(asdict(result), ensure_ascii=False))
            continue
        console.print(f"{marks[result.level]} [bold]{result.subject:<31}[/] ", end="")
        console.print(result.found, markup=False)
        if result.remedy:
            console.print(f"  → {result.remedy}", markup=False)
    raise typer.Exit(1 if has_fault else 0)
