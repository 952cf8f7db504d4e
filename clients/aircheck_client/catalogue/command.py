"""The command `aircheck bulk`: a catalogue to its records."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import typer
from typer.core import TyperGroup

from aircheck_client.cli import (
    Audience,
    ContentType,
    Market,
    Policy,
    TlsCa,
    TlsCertificate,
    TlsKey,
    TlsOn,
    TokenFile,
    Url,
)


class _ScanByDefault(TyperGroup):
    """`aircheck bulk SOURCE` is `aircheck bulk scan SOURCE`."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]  # typer's click
        if args and args[0] not in (*self.commands, "--help"):
            args = ["scan", *args]
        return super().parse_args(ctx, args)


bulk = typer.Typer(
    cls=_ScanByDefault,
    help="Scan a whole catalogue, once: a manifest, a folder or a podcast feed. Restart it whenever it ended.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

Engine = Literal["local", "ray"]
Out = Annotated[str, typer.Option(help="Folder or URL (s3://, gs://) of the records.")]


@bulk.command()
def scan(
    source: Annotated[str, typer.Argument(help="A manifest (.jsonl, .csv, .parquet), a folder, or a podcast feed.")],
    out: Out,
    url: Url = "127.0.0.1:8001",
    content_type: ContentType = "podcast",
    market: Market = "*",
    audience: Audience = "general",
    policy: Policy = "default",
    shard: Annotated[str, typer.Option(help="I/N: only the I-th of N parts; the others run elsewhere.")] = "1/1",
    limit: Annotated[int | None, typer.Option(help="Scan at most so many items.")] = None,
    since: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Of a feed: only items published from that day on.")
    ] = None,
    allow_private: Annotated[
        bool, typer.Option(help="Fetch also from private addresses, and from this machine.")
    ] = False,
    force: Annotated[bool, typer.Option(help="Scan also what is done.")] = False,
    ping: Annotated[bool, typer.Option(help="Only count what is left.")] = False,
    parallel: Annotated[int, typer.Option(help="Most scans at a time; fewer while the server is full.")] = 64,
    attempts: Annotated[int, typer.Option(help="At one item in a run, where its failure may pass.")] = 4,
    patience: Annotated[float, typer.Option(help="Seconds without any server until the job gives up.")] = 900.0,
    engine: Annotated[Engine, typer.Option(help="local: this process scans; ray: actors of Ray Data do.")] = "local",
    address: Annotated[
        str | None, typer.Option(help="Of a Ray cluster (HOST:PORT, ray://HOST:PORT, auto); else Ray runs here.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Ray actors that scan, of --parallel scans together; else one a machine.")
    ] = None,
    timeout: Annotated[float | None, typer.Option(help="Seconds each item may take; no bound unless given.")] = None,
    log: Annotated[Path | None, typer.Option(help="File that gets a JSON line a minute.")] = None,
    tls: TlsOn = False,
    tls_ca: TlsCa = None,
    tls_certificate: TlsCertificate = None,
    tls_key: TlsKey = None,
    token_file: TokenFile = None,
) -> None:
    """Scan all items that are not done yet.

    Exit code: 0 all items are done, 1 some failed (see dead_letters.jsonl in --out), 2 the job could not go on.

    Examples: [bold]aircheck bulk archive/ --out records[/],
    [bold]aircheck bulk manifest.jsonl --out s3://bucket/records --shard 2/8[/]
    """
    from aircheck_client.catalogue.bulk import Bulk
    from aircheck_client.catalogue.opening import ScannerOptions

    if engine != "ray" and (address is not None or workers is not None):
        raise typer.BadParameter("--address and --workers are of --engine ray")
    command = Bulk(
        source=source,
        scanner=ScannerOptions(
            out=out,
            server=(url, tls, (tls_ca, tls_certificate, tls_key), token_file),
            timeout_s=timeout,
            force=force,
            allow_private=allow_private,
        ),
        context={"content_type": content_type, "market": market, "audience": audience, "policy_pack": policy},
        shard=shard,
        limit=limit,
        parallel=parallel,
        attempts=attempts,
        patience_s=patience,
        log=log,
        since=since.replace(tzinfo=UTC) if since else None,
        engine=engine,
        address=address,
        workers=workers,
    )
    raise typer.Exit(command.ping() if ping else command.run())


@bulk.command()
def collect(
    records: Annotated[str, typer.Argument(metavar="DIR", help="What `aircheck bulk --out` wrote: a folder or URL.")],
    vtt: Annotated[bool, typer.Option(help="Also a WebVTT file of each transcript, in DIR/tables/vtt.")] = False,
) -> None:
    """Make Parquet tables of all records, in DIR/tables: verdicts, findings, scores, windows.

    Exit code: 0 made, 2 a failure.
    """
    from aircheck_client.catalogue.bulk import collect_tables

    raise typer.Exit(collect_tables(records, vtt))
