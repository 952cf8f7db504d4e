"""What a scanner is made with: plain values, so that it can be made in whatever process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from aircheck_client.aio import AsyncAircheckClient
from aircheck_client.catalogue.records import RecordStore
from aircheck_client.catalogue.scanning import Scanner
from aircheck_client.catalogue.sources import Sources
from aircheck_client.command import connection_of
from aircheck_client.connection import Retry


@dataclass(frozen=True)
class ScannerOptions:
    """Of `Scanner`, its client and its store.

    out : folder or URL of the records
    server : what `connection_of` takes; files are read where the scanner is made, so that no secret is sent around
    """

    out: str
    server: tuple[str, bool, tuple[Path | None, Path | None, Path | None], Path | None]
    timeout_s: float | None = None
    force: bool = False
    allow_private: bool = False

    @asynccontextmanager
    async def scanner(self) -> AsyncIterator[Scanner]:
        """For as long as the block runs. Raises StoreError; OSError, ValueError for the connection."""
        async with AsyncExitStack() as stack:
            store = RecordStore(self.out)
            # a refusal is the job's to see: it tells how much is too much
            client = AsyncAircheckClient(**connection_of(*self.server), retry=Retry(attempts=1))
            await stack.enter_async_context(client)
            sources = await stack.enter_async_context(Sources(allow_private=self.allow_private))
            yield Scanner(client, store, sources, timeout_s=self.timeout_s, force=self.force)

    def from_anywhere(self) -> ScannerOptions:
        """The same with absolute paths, for processes that run in other folders."""
        url, tls, tls_files, token_file = self.server
        ca, certificate, key = (path and path.resolve() for path in tls_files)
        out = self.out if "://" in self.out else str(Path(self.out).resolve())
        return replace(self, out=out, server=(url, tls, (ca, certificate, key), token_file and token_file.resolve()))
