"""The `aircheck` command. The client brings `scan`; an installed server side adds its own through entry points."""

from __future__ import annotations

import os
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from aircheck_client.client import AircheckClient
    from aircheck_client.schema import Context, Verdict

app = typer.Typer(
    name="aircheck",
    help="Check spoken audio against a content policy: what is unsafe, where, how bad, and what to do.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


@app.callback()
def _root() -> None:
    """Check spoken audio against a content policy: what is unsafe, where, how bad, and what to do."""


@app.command()
def scan(
    files: Annotated[list[Path], typer.Argument(help="Recordings of any length and format.", show_default=False)],
    url: Annotated[str, typer.Option(envvar="AIRCHECK_URL", help="The server's HOST:PORT.")] = "127.0.0.1:8001",
    json: Annotated[bool, typer.Option("--json", help="One JSON verdict a line on standard output.")] = False,
    content_type: Annotated[str, typer.Option(help="podcast, audiobook or clip.")] = "podcast",
    market: Annotated[str, typer.Option(help="ISO 3166 country code such as SE, or * for any.")] = "*",
    policy: Annotated[str, typer.Option(help="Policy pack to decide by.")] = "default",
    timeout: Annotated[float | None, typer.Option(help="Seconds each file may take; no bound unless given.")] = None,
    tls: Annotated[bool, typer.Option(help="Connect with TLS, verified against the system's roots.")] = False,
    tls_ca: Annotated[Path | None, typer.Option(help="PEM roots to verify the server with; implies --tls.")] = None,
    tls_certificate: Annotated[Path | None, typer.Option(help="PEM certificate to show the server.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM private key of --tls-certificate.")] = None,
    token: Annotated[
        str | None, typer.Option(envvar="AIRCHECK_TOKEN", show_envvar=True, help="The server's token.")
    ] = None,
) -> None:
    """Scan recordings and print what was found.

    Exit code: 0 nothing found, 1 something found or not fully checked, 2 an error (the other files are still scanned).

    Example: [bold]aircheck scan episode.mp3 --content-type podcast --market SE[/]
    """
    from pydantic import ValidationError
    from rich.console import Console

    from aircheck_client.client import AircheckClient, Tls
    from aircheck_client.errors import AircheckError
    from aircheck_client.schema import Context, ExitCode

    errors = Console(stderr=True, highlight=False)
    try:
        context = Context(content_type=content_type, market=market, policy_pack=policy)
        security = Tls(tls_ca, tls_certificate, tls_key) if tls_ca or tls_certificate or tls_key else tls
        client = AircheckClient(url, tls=security, token=token, timeout_s=timeout)
    except ValidationError as error:
        for fault in error.errors():
            errors.print(
                f"error: --{str(fault['loc'][0]).replace('_', '-')}: {fault['msg']}", style="red", markup=False
            )
        raise typer.Exit(ExitCode.ERROR) from None
    except (ValueError, OSError) as error:
        errors.print(f"error: {error}", style="red", markup=False)
        raise typer.Exit(ExitCode.ERROR) from None
    code = ExitCode.CLEAN
    with client:
        for path in files:
            try:
                verdict = scan_with_progress(client, path, context, errors)
            except AircheckError as error:
                errors.print(f"error: {error}", style="red", markup=False)
                code = ExitCode.ERROR
                continue
            _show(verdict, path, json)
            if verdict.findings or verdict.unchecked:
                code = max(code, ExitCode.FOUND)
    raise typer.Exit(code)


def scan_with_progress(client: AircheckClient, path: Path, context: Context, console: Console) -> Verdict:
    """Scans one file under a progress bar that counts seconds of audio. Raises AircheckError."""
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    from aircheck_client.errors import ServerError
    from aircheck_client.schema import clock

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[at]}"))
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console, transient=True) as progress:
        task = progress.add_task(path.name, total=None, at="")
        for verdict in client.stream(path, context):
            if verdict.scope == "episode":
                return verdict
            at = clock(verdict.end_s) + (f" of {clock(verdict.recording_s)}" if verdict.recording_s else "")
            progress.update(task, completed=verdict.end_s, total=verdict.recording_s, at=at)
    raise ServerError("the stream ended without the episode's verdict", str(path))


def _show(verdict: Verdict, path: Path, as_json: bool) -> None:
    from json import dumps as to_json

    from rich.console import Console

    from aircheck_client.render import timeline

    if as_json:
        line = {"file": os.fspath(path), "verdict": verdict.model_dump(mode="json")}
        sys.stdout.write(to_json(line, ensure_ascii=False) + "\n")
    else:
        Console(highlight=False).print(timeline(verdict, path.name))


def main() -> None:
    """Entry point of the `aircheck` command."""
    for entry in sorted(entry_points(group="aircheck.commands"), key=lambda entry: entry.name):
        app.command(entry.name)(entry.load())
    app()


if __name__ == "__main__":
    main()
