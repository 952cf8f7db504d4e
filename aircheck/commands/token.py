"""`aircheck token`: a new token for a caller, and its entry in the server's file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer


def token(
    name: Annotated[str, typer.Argument(help="The caller's name in the server's log.", show_default=False)],
    out: Annotated[Path, typer.Option(help="File for the token itself; must not exist.")],
) -> None:
    """Make a token: the token goes into a file that only you can read, its entry for the server to standard output.

    Example: [bold]aircheck token ingestion --out ingestion.token >> entries.yaml[/]

    The server's file (AIRCHECK_TOKENS_FILE) holds such entries below a line "tokens:"; it is read again when it
    changes. A caller is given the token's file: aircheck scan --token-file, or token= in code.
    """
    from pydantic import ValidationError

    from aircheck.gateway.access import Token, new_token

    secret, sha256 = new_token()
    try:
        Token(name=name, sha256=sha256)
        descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except (ValidationError, OSError) as error:
        fault = f"{out}: {error.strerror}" if isinstance(error, OSError) else f"{name!r}: letters, digits, . _ - only"
        typer.echo(f"error: {fault}", err=True)
        raise typer.Exit(2) from None
    with os.fdopen(descriptor, "w") as file:
        file.write(secret + "\n")
    typer.echo(f"  - name: {name}\n    sha256: {sha256}")
