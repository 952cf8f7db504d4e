"""`aircheck evaluate` and `thresholds` in this process: a new one would spend its time on imports."""

from __future__ import annotations

from collections.abc import Callable

import typer
from typer.testing import CliRunner


def run(command: Callable[..., None], *options: object) -> tuple[int, str]:
    """The exit code, and what was printed, with single spaces."""
    app = typer.Typer()
    app.command()(command)
    done = CliRunner().invoke(app, [str(option) for option in options], env={"COLUMNS": "160"})
    return done.exit_code, " ".join(done.output.split())
