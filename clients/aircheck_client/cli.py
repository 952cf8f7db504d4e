"""The `aircheck` command. The client brings its own commands; an installed server side adds others."""

from __future__ import annotations

from enum import StrEnum
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="aircheck",
    help="Check spoken audio against a content policy: what is unsafe, where, how bad, and what to do.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


class Format(StrEnum):
    text = "text"
    json = "json"
    vtt = "vtt"
    srt = "srt"
    chapters = "chapters"
    csv = "csv"


class FailOn(StrEnum):
    any = "any"
    label_explicit = "label_explicit"
    limit = "limit"
    review = "review"
    block = "block"


_SERVER = "Server"
Url = Annotated[
    str,
    typer.Option(
        envvar="AIRCHECK_URL", rich_help_panel=_SERVER, help="The server's HOST:PORT; several, with commas, take turns."
    ),
]
TlsOn = Annotated[bool, typer.Option(rich_help_panel=_SERVER, help="Connect with TLS.")]
TlsCa = Annotated[
    Path | None, typer.Option(rich_help_panel=_SERVER, help="PEM roots to verify the server with; implies --tls.")
]
TlsCertificate = Annotated[
    Path | None, typer.Option(rich_help_panel=_SERVER, help="PEM certificate to show the server.")
]
TlsKey = Annotated[Path | None, typer.Option(rich_help_panel=_SERVER, help="PEM private key of --tls-certificate.")]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        envvar="AIRCHECK_TOKEN_FILE",
        show_envvar=True,
        rich_help_panel=_SERVER,
        help="File with the server's token; without one, AIRCHECK_TOKEN.",
    ),
]
ContentType = Annotated[str, typer.Option(help="podcast, audiobook or clip.")]
Market = Annotated[str, typer.Option(help="ISO 3166 country code such as SE, or * for any.")]
Audience = Annotated[str, typer.Option(help="general, children or adult.")]
Policy = Annotated[str, typer.Option(help="Policy pack to decide by.")]
Language = Annotated[str, typer.Option(help="ISO 639-1 code to transcribe in; detected unless given.")]
Threshold = Annotated[
    FailOn,
    typer.Option(help="The mildest action for which the exit code is 1; any: whatever is more than allow."),
]
Json = Annotated[bool, typer.Option("--json", help="The same as --format json.")]
As = Annotated[Format, typer.Option("--format", help="text, or one of those for programs.")]


@app.callback()
def _root() -> None:
    """Check spoken audio against a content policy: what is unsafe, where, how bad, and what to do."""


@app.command()
def scan(
    files: Annotated[
        list[str], typer.Argument(help="Recordings of any length and format; - for standard input; or URLs.")
    ],
    url: Url = "127.0.0.1:8001",
    form: As = Format.text,
    json: Json = False,
    content_type: ContentType = "podcast",
    market: Market = "*",
    audience: Audience = "general",
    policy: Policy = "default",
    language: Language = "",
    fail_on: Threshold = FailOn.any,
    bulk: Annotated[bool, typer.Option(help="After everything else that the server has to do.")] = False,
    timeout: Annotated[float | None, typer.Option(help="Seconds each file may take; no bound unless given.")] = None,
    tls: TlsOn = False,
    tls_ca: TlsCa = None,
    tls_certificate: TlsCertificate = None,
    tls_key: TlsKey = None,
    token_file: TokenFile = None,
) -> None:
    """Scan recordings and print what was found.

    Exit code: 0 nothing that asks for an action, 1 something does or was not fully checked, 2 a failure (the other
    files are still scanned).

    Examples: [bold]aircheck scan episode.mp3 --market SE[/], [bold]aircheck scan *.mp3 --json > verdicts.jsonl[/],
    [bold]ffmpeg … | aircheck scan -[/]
    """
    from aircheck_client.command import Command

    command = Command(
        url=url,
        form=Format.json if json else form,
        fail_on=fail_on,
        context={"content_type": content_type, "market": market, "audience": audience, "policy_pack": policy},
        options={"language": language, "priority": "bulk" if bulk else ""},
        timeout_s=timeout,
        tls=tls,
        tls_files=(tls_ca, tls_certificate, tls_key),
        token_file=token_file,
    )
    raise typer.Exit(command.scan(files))


@app.command()
def listen(
    source: Annotated[
        str, typer.Argument(help="An http(s) stream such as Icecast's, a file, or - for standard input.")
    ],
    url: Url = "127.0.0.1:8001",
    form: As = Format.text,
    json: Json = False,
    content_type: ContentType = "podcast",
    market: Market = "*",
    audience: Audience = "general",
    policy: Policy = "default",
    language: Language = "",
    fail_on: Threshold = FailOn.any,
    pcm: Annotated[
        int | None, typer.Option(help="Standard input is raw 16-bit mono of so many samples a second.")
    ] = None,
    tls: TlsOn = False,
    tls_ca: TlsCa = None,
    tls_certificate: TlsCertificate = None,
    tls_key: TlsKey = None,
    token_file: TokenFile = None,
) -> None:
    """Check audio while it is heard; a line for each window, until the stream ends or Ctrl-C.

    A file is sent at the pace at which it plays. Exit codes as of scan.

    Examples: [bold]aircheck listen https://radio.example/live.mp3[/],
    [bold]arecord -f S16_LE -r 16000 | aircheck listen - --pcm 16000[/]
    """
    from aircheck_client.command import Command

    command = Command(
        url=url,
        form=Format.json if json else form,
        fail_on=fail_on,
        context={"content_type": content_type, "market": market, "audience": audience, "policy_pack": policy},
        options={"language": language},
        timeout_s=None,
        tls=tls,
        tls_files=(tls_ca, tls_certificate, tls_key),
        token_file=token_file,
    )
    raise typer.Exit(command.listen(source, pcm))


@app.command()
def worker(
    broker: Annotated[
        str, typer.Option(envvar="AIRCHECK_BROKER", help="redis://…, nats://…, kafka://… or amqp://…, with its port.")
    ],
    topic_in: Annotated[str, typer.Option("--in", help="Topic of the jobs: {id, uri, context}.")],
    topic_out: Annotated[str, typer.Option("--out", help="Topic of the verdicts.")],
    dead_letters: Annotated[str, typer.Option(help="Topic of what has no verdict, and why.")],
    records: Annotated[str, typer.Option(help="Folder or URL of what was heard before, as of `aircheck bulk`.")],
    group: Annotated[str, typer.Option(help="Workers of one group share the jobs.")] = "aircheck",
    concurrency: Annotated[int, typer.Option(help="Recordings at a time, and messages that are taken.")] = 4,
    attempts: Annotated[int, typer.Option(help="Of one message, by any workers, before it is a dead letter.")] = 5,
    claim_after: Annotated[float, typer.Option(help="Seconds until a dead worker's messages are another's.")] = 60.0,
    drain: Annotated[float, typer.Option(help="Seconds for what is in flight after SIGTERM.")] = 30.0,
    timeout: Annotated[float | None, typer.Option(help="Seconds each scan may take; no bound unless given.")] = None,
    scheme: Annotated[
        list[str] | None, typer.Option(help="Of uris that are opened: file, s3, gs, http, https.")
    ] = None,
    allow_private: Annotated[
        bool, typer.Option(help="Fetch also from private addresses, and from this machine.")
    ] = False,
    cloudevents: Annotated[bool, typer.Option(help="Jobs come, and answers go, in CloudEvents envelopes.")] = False,
    transcript: Annotated[bool, typer.Option(help="Verdicts carry all that was said; records always do.")] = False,
    bulk: Annotated[bool, typer.Option(help="After everything else that the server has to do.")] = False,
    metrics_host: Annotated[
        str, typer.Option(help="Address of /metrics, /livez, /readyz, which ask for neither TLS nor a token.")
    ] = "127.0.0.1",
    metrics_port: Annotated[int, typer.Option(help="Their port; 0: any.")] = 9109,
    asyncapi: Annotated[bool, typer.Option(help="Print the AsyncAPI document, and do nothing.")] = False,
    url: Url = "127.0.0.1:8001",
    tls: TlsOn = False,
    tls_ca: TlsCa = None,
    tls_certificate: TlsCertificate = None,
    tls_key: TlsKey = None,
    token_file: TokenFile = None,
) -> None:
    """Check recordings that messages name, and publish the verdicts, until SIGTERM.

    A message is acknowledged after its verdict is published; what was heard is kept in the records, and a message that
    comes again is not heard again. Exit code: 0 after SIGTERM, 2 a failure.

    Example: [bold]aircheck worker --broker redis://127.0.0.1:6379 --in uploads --out verdicts
    --dead-letters uploads.dead --records s3://bucket/records[/]
    """
    from aircheck_client.command import connection_of
    from aircheck_client.worker.command import run
    from aircheck_client.worker.settings import SCHEMES, WorkerSettings

    try:
        settings = WorkerSettings(
            broker=broker,
            topic_in=topic_in,
            topic_out=topic_out,
            dead_letters=dead_letters,
            records=records,
            group=group,
            concurrency=concurrency,
            attempts=attempts,
            claim_after_s=claim_after,
            drain_s=drain,
            timeout_s=timeout,
            schemes=tuple(scheme or SCHEMES),
            allow_private=allow_private,
            cloudevents=cloudevents,
            transcript=transcript,
            priority="bulk" if bulk else "",
            metrics_host=metrics_host,
            metrics_port=metrics_port,
        )
        connection = connection_of(url, tls, (tls_ca, tls_certificate, tls_key), token_file)
    except (OSError, ValueError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from None
    raise typer.Exit(run(settings, connection, asyncapi))


def main() -> None:
    """Entry point of the `aircheck` command."""
    from aircheck_client.catalogue.command import bulk

    app.add_typer(bulk, name="bulk")
    for entry in sorted(entry_points(group="aircheck.commands"), key=lambda entry: entry.name):
        app.command(entry.name)(entry.load())
    app()


if __name__ == "__main__":
    main()
