"""`aircheck demo`: the whole path on a recorded sample, from server start to verdict."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import typer


def demo(
    file: Annotated[Path | None, typer.Argument(help="A recording of yours instead of the sample.")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show Triton's whole log.")] = False,
) -> None:
    """Start a server, scan the sample episode, show the verdict, stop the server."""
    from rich.console import Console

    from aircheck.commands.serve import stop_on_sigterm
    from aircheck.server import Server, StartError
    from aircheck.settings import Settings, SettingsError
    from aircheck.shipped import shipped
    from aircheck_client.client import AircheckClient
    from aircheck_client.command import scan_with_progress
    from aircheck_client.errors import AircheckError
    from aircheck_client.progress import reporter
    from aircheck_client.render import timeline
    from aircheck_client.schema import Context

    console = Console(highlight=False)
    stop_on_sigterm()
    recording = file or shipped("samples/episode.mp3")
    try:
        settings = Settings.load(grpc_port=0, metrics_port=0)
        console.print(f"[bold]Starting a server[/] on free ports of {settings.host} (profile {settings.profile})")
        started = time.monotonic()
        with Server(settings, log="whole" if verbose else "short") as server:
            console.print(f"ready after {time.monotonic() - started:.1f} s")
            console.print(f"[bold]Scanning[/] {recording.name} over gRPC")
            started = time.monotonic()
            with AircheckClient(server.url) as client:
                verdict = scan_with_progress(client, recording, Context(), reporter(sys.stderr), recording.name)
            took_s = time.monotonic() - started
    except KeyboardInterrupt:
        console.print("stopped")
        raise typer.Exit(130) from None
    except (SettingsError, StartError, AircheckError) as error:
        console.print(f"error: {error}", style="red", markup=False)
        raise typer.Exit(2) from None
    report = (file or Path(recording.name)).with_suffix(".verdict.json")  # the sample's folder may be read-only
    report.write_text(verdict.model_dump_json(indent=2) + "\n")
    console.print(timeline(verdict, recording.name))
    console.print(
        f"{verdict.duration_s:.0f} s of audio in {took_s:.1f} s ({verdict.duration_s / took_s:.1f} times real time); "
        f"the whole verdict as JSON: {report}"
    )
    is_checkout = shipped("Makefile").is_file()
    serve, aircheck = ("make serve", ".venv/bin/aircheck") if is_checkout else ("aircheck serve", "aircheck")
    console.print(f"\n[bold]Next[/]  {serve:<34}  start a server and keep it")
    for arguments, what in (
        ("scan YOUR.mp3", "scan a recording of yours (in another terminal)"),
        ("doctor", "look whether all is well"),
        ("--help", "everything else"),
    ):
        console.print(f"      {f'{aircheck} {arguments}':<34}  {what}", markup=False)
