"""A job's recording to its verdict, by way of the scanner that bulk jobs use: what was heard is not heard again."""

from __future__ import annotations

import time
from urllib.parse import urlsplit

from aircheck_client.catalogue.fetch import RefusedSourceError
from aircheck_client.catalogue.records import Item
from aircheck_client.catalogue.scanning import Scanner
from aircheck_client.worker.messages import Checked, Job
from aircheck_client.worker.monitoring import AUDIO_SECONDS

_REFRESH_S = 10.0  # so long a server is taken to run what it ran


class ScanningChecker:
    """Verdicts from a store of records, or from the server. For one event loop."""

    def __init__(self, scanner: Scanner, schemes: tuple[str, ...]):
        """scanner : one that rereads; a sender may use an id again, and put another file under a uri"""
        self._scanner, self._schemes = scanner, schemes
        self._refreshed_s: float | None = None

    async def __call__(self, job: Job) -> Checked:
        """Raises RefusedSourceError, and what `Scanner.scan` raises."""
        check_uri(job.uri, self._schemes)
        if self._refreshed_s is None or time.monotonic() - self._refreshed_s > _REFRESH_S:
            await self._scanner.refresh()
            self._refreshed_s = time.monotonic()
        done = await self._scanner.scan(Item(id=job.id, uri=job.uri, context=job.context))
        assert done.record is not None
        if done.heard:
            AUDIO_SECONDS.inc(done.duration_s)
        return Checked(
            id=job.id,
            uri=job.uri,
            verdict=done.record.verdict,
            audio_sha256=done.record.key.audio_sha256,
            from_record=not done.heard,
        )


def check_uri(uri: str, schemes: tuple[str, ...]) -> None:
    """Raises RefusedSourceError for what is of another scheme, or chains several (`zip://…::http://…`)."""
    scheme = urlsplit(uri).scheme.lower() if "://" in uri else "file"
    if "::" in uri or scheme not in schemes:
        raise RefusedSourceError(f"this worker opens {', '.join(schemes)}, and none through another", uri)
