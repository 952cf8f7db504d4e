"""`aircheck rescore`: a catalogue that was scanned, under another pack."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import polars as pl

    from aircheck.rescore.differences import Differences


def rescore(
    records: Annotated[str, typer.Argument(metavar="DIR", help="That of `aircheck bulk`, after `collect`.")],
    pack: Annotated[Path, typer.Option(help="Policy pack (.yaml) to decide by.")],
    out: Annotated[str, typer.Option(help="Folder of the new verdicts; else DIR/rescored/NAME-vVERSION.")] = "",
    examples: Annotated[int, typer.Option(help="Items shown of each change.")] = 3,
    json: Annotated[bool, typer.Option("--json", help="Print what changes as JSON.")] = False,
) -> None:
    """Decide a catalogue anew by another pack, from what was heard, and show what that changes.

    No audio is touched and no server is asked. Exit code: 0 no item gets another action, 1 some do, 2 a failure.

    Example: [bold]aircheck rescore records --pack policies/default.yaml[/]
    """
    from aircheck.policy.errors import PolicyError
    from aircheck_client.catalogue.extras import MissingPackageError, imported
    from aircheck_client.output import write

    try:
        imported("polars")
        from aircheck.rescore.differences import differences
        from aircheck.rescore.rescoring import RescoreError, read_tables
        from aircheck.rescore.rescoring import rescore as rescored_by
    except MissingPackageError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from None
    try:
        tables = read_tables(f"{records.rstrip('/')}/tables")
        rescored = rescored_by(tables, pack)
        changes = differences(tables["verdicts"], tables["findings"], rescored.verdicts, examples)
        where = out or f"{records.rstrip('/')}/rescored/{rescored.pack.name}-v{rescored.pack.version}"
        _write(rescored.verdicts, changes, where)
    except (PolicyError, RescoreError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from None
    write(_as_json(changes) if json else _as_text(changes, where))
    raise typer.Exit(1 if changes.changed else 0)


def _write(verdicts: pl.DataFrame, changes: Differences, where: str) -> None:
    from aircheck_client.catalogue.extras import imported

    files, root = imported("fsspec").core.url_to_fs(where)
    files.makedirs(root, exist_ok=True)
    with files.open(f"{root}/verdicts.parquet", "wb") as file:
        verdicts.write_parquet(file, compression="zstd")
    with files.open(f"{root}/changes.json", "w") as file:
        file.write(_as_json(changes))


def _as_json(changes: Differences) -> str:
    from json import dumps

    return dumps(changes.report(), indent=1, ensure_ascii=False) + "\n"


def _as_text(changes: Differences, where: str) -> str:
    lines = [f"{changes.changed} of {changes.items} items get another action", ""]
    for title, rows, key in (
        ("action", changes.actions, ""),
        ("market", changes.markets, "market"),
        ("category", changes.categories, "category"),
    ):
        if rows.height:
            lines += [f"by {title}"]
            lines += [
                f"{row['items']:8}  {row[key] + ': ' if key else ''}{row['before']} → {row['after']}"
                for row in rows.iter_rows(named=True)
            ] + [""]
    for row in changes.examples.iter_rows(named=True):
        lines += [f"{row['id']}: {row['before']} → {row['after']}"]
        lines += [f"    before: {row['reason_before']}", f"    after:  {row['reason_after']}"]
    return "\n".join([*lines, "", f"all verdicts: {where}"]) + "\n"
