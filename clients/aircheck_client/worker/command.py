"""What `aircheck worker` does."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import Any

from aircheck_client.aio import AsyncAircheckClient
from aircheck_client.catalogue.records import RecordStore, StoreError
from aircheck_client.catalogue.scanning import Scanner
from aircheck_client.catalogue.sources import Sources
from aircheck_client.connection import Retry
from aircheck_client.errors import AircheckError
from aircheck_client.schema import ExitCode
from aircheck_client.worker.settings import WorkerSettings


def run(settings: WorkerSettings, connection: dict[str, Any], asyncapi: bool = False) -> ExitCode:
    """Runs a worker until SIGTERM, or prints its AsyncAPI document. Never raises for a broker, a server or a store.

    connection : as `aircheck_client.command.connection_of` gives it
    """
    try:
        from aircheck_client.worker.document import asyncapi as document
        from aircheck_client.worker.service import serve
    except ImportError as error:
        return _fault(f"a worker needs {error.name}: pip install 'aircheck-client[worker]'")
    if asyncapi:
        try:
            print(document(settings))
        except ValueError as error:
            return _fault(str(error))
        return ExitCode.CLEAN
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    from aircheck_client.worker.checking import ScanningChecker

    def ready(base_url: str) -> None:
        print(f"{settings.topic_in} at {settings.shown_broker}: ready; {base_url}/metrics", file=sys.stderr, flush=True)

    async def work() -> None:
        private = settings.allow_private
        # a call is made once, for the worker's own waits count more than a channel's
        async with (
            AsyncAircheckClient(**connection, retry=Retry(attempts=1)) as client,
            Sources(allow_private=private) as sources,
        ):
            scanner = Scanner(
                client,
                RecordStore(settings.records),
                sources,
                timeout_s=settings.timeout_s,
                reread=True,
                priority=settings.priority,
            )
            await serve(settings, client, ScanningChecker(scanner, settings.schemes), ready)

    try:
        asyncio.run(work())
    except (AircheckError, StoreError, ValueError) as error:
        return _fault(str(error))
    except Exception as error:  # of the broker's own kind
        return _fault(f"{settings.shown_broker}: {type(error).__name__}: {error}")
    return ExitCode.CLEAN


def _fault(message: str) -> ExitCode:
    print(f"error: {message}", file=sys.stderr)
    return ExitCode.ERROR
