"""`aircheck trace`: where the time of a call went."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

SHOWN = 20  # of the last calls, where none is named


def trace(
    name: Annotated[
        str | None,
        typer.Argument(metavar="ID", help="A trace's or a call's id, or the caller's idempotency key."),
    ] = None,
    trace_dir: Annotated[
        Path, typer.Option(envvar="AIRCHECK_TRACE_DIR", help="The folder that the server was given as --trace-dir.")
    ] = Path("traces"),
    windows: Annotated[int, typer.Option(min=0, help="Windows to show: the longest of a recording.")] = 3,
) -> None:
    """Show where the time of a call went, as a waterfall; without an ID, list the last calls.

    Example: [bold]aircheck serve --trace-dir traces[/], then [bold]aircheck trace[/]

    A call's id is in the server's log and in a scan's first event.
    """
    import time

    from rich.console import Console
    from rich.table import Table

    from aircheck.tracing.names import CALL_ID, KEY
    from aircheck.tracing.reading import TraceError, find, last_calls
    from aircheck.tracing.waterfall import waterfall

    console = Console(highlight=False)
    try:
        if name is not None:
            console.print(waterfall(find(trace_dir, name), windows))
            return
        table = Table("began", "call", "seconds", "id", "key", box=None, padding=(0, 1), header_style="dim")
        for call in last_calls(trace_dir, SHOWN):
            began = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(call.start_s))
            ids = (str(call.attributes[CALL_ID]), str(call.attributes.get(KEY, "")))
            style = "red" if call.is_error else ""
            table.add_row(began, call.name, f"{call.seconds:.3f}", *ids, style=style)
        console.print(table)
    except TraceError as error:
        Console(stderr=True).print(f"error: {error}", style="red", markup=False, highlight=False)
        raise typer.Exit(2) from None
