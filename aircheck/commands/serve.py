"""`aircheck serve`: start the server and keep it until it is told to stop."""

from __future__ import annotations

import signal
import time
from types import FrameType
from typing import Annotated, Any

import typer
from rich.console import Console


def serve(
    profile: Annotated[str | None, typer.Option(help="embedded, gpu, or a path to a YAML file.")] = None,
    whisper: Annotated[
        str | None,
        typer.Option(help="An official name (base, turbo, large-v3), or a path (docs/checkpoints.md)."),
    ] = None,
    text_classifier: Annotated[str | None, typer.Option(help="embedded, or a transformers checkpoint.")] = None,
    text_labels: Annotated[
        str | None, typer.Option(help="Label map or guard card (YAML) of --text-classifier.")
    ] = None,
    acoustic_classifier: Annotated[str | None, typer.Option(help="embedded, a checkpoint or a .tflite file.")] = None,
    acoustic_labels: Annotated[str | None, typer.Option(help="Label map (YAML) of --acoustic-classifier.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to bind; 127.0.0.1 unless told otherwise.")] = None,
    grpc_port: Annotated[int | None, typer.Option(help="gRPC port (8001); 0 picks a free one.")] = None,
    metrics_port: Annotated[
        int | None, typer.Option(help="HTTP port of /metrics, /livez, /readyz (8002); 0 picks a free one.")
    ] = None,
    tls_certificate: Annotated[str | None, typer.Option(help="PEM certificate chain; turns TLS on.")] = None,
    tls_key: Annotated[str | None, typer.Option(help="PEM private key of --tls-certificate.")] = None,
    tls_client_ca: Annotated[
        str | None, typer.Option(help="PEM roots that clients' certificates must chain to.")
    ] = None,
    tokens_file: Annotated[
        str | None, typer.Option(help="YAML file of the tokens that callers must send (see `aircheck token`).")
    ] = None,
    behind_mesh: Annotated[
        bool | None, typer.Option("--behind-mesh", help="Something else encrypts and authenticates.")
    ] = None,
    exit_timeout: Annotated[
        int | None, typer.Option(help="Seconds that requests in flight get on shutdown (30).")
    ] = None,
    trace_dir: Annotated[str | None, typer.Option(help="Folder to keep traces in, for `aircheck trace`.")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show Triton's whole log.")] = False,
    log_verbose: Annotated[int | None, typer.Option(help="Triton's own verbosity, 0 to 4; shown with -v.")] = None,
) -> None:
    """Start the server: the gateway that takes calls, and below it Triton with every model of the repository.

    Every option is also a setting: AIRCHECK_GRPC_PORT, AIRCHECK_WHISPER and so on (see aircheck/settings.py).

    Stop it with Ctrl-C or SIGTERM: calls under way are answered, new ones refused.
    """
    import asyncio

    from aircheck.gateway.access import TokenFileError
    from aircheck.gateway.errors import StartError
    from aircheck.gateway.server import Addresses
    from aircheck.gateway.server import serve as serve_gateway
    from aircheck.policy.errors import PolicyError
    from aircheck.settings import Settings, SettingsError
    from aircheck.triton import OUTDATED, TritonError, find
    from aircheck.triton_log import LogPrinter

    console = Console(stderr=True, highlight=False)
    started = time.monotonic()

    def on_ready(addresses: Addresses) -> None:
        console.print(
            f"[bold green]ready[/] after {time.monotonic() - started:.1f} s: gRPC {addresses.url}, "
            f"metrics and health {addresses.metrics_url}"
        )
        if verbose:
            console.print(f"Triton, for this user on this machine: {addresses.triton}")

    try:
        settings = Settings.load(
            profile=profile,
            whisper=whisper,
            text_classifier=text_classifier,
            text_labels=text_labels,
            acoustic_classifier=acoustic_classifier,
            acoustic_labels=acoustic_labels,
            host=host,
            grpc_port=grpc_port,
            metrics_port=metrics_port,
            tls_certificate=tls_certificate,
            tls_key=tls_key,
            tls_client_ca=tls_client_ca,
            tokens_file=tokens_file,
            behind_mesh=behind_mesh,
            exit_timeout_s=exit_timeout,
            trace_dir=trace_dir,
            log_verbose=log_verbose,
        )
        triton = find(settings.triton)
        if not triton.is_current:
            console.print(f"warning: {triton.name} {OUTDATED}", style="yellow", markup=False)
        asyncio.run(serve_gateway(settings, on_ready, LogPrinter(console, verbose)))
        console.print("stopped")
    except (SettingsError, StartError, TokenFileError, PolicyError, TritonError) as error:
        console.print(f"error: {error}", style="red", markup=False)
        raise typer.Exit(2) from None


def stop_on_sigterm() -> None:
    """Makes SIGTERM end this process as Ctrl-C does: through the `with` block that stops the server."""

    def interrupt(signum: int, frame: FrameType | None) -> Any:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
