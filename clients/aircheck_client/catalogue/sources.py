"""The bytes of an item, on this machine and with their hash: local files as they lie, all else copied first."""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aircheck_client.catalogue.extras import imported
from aircheck_client.catalogue.items import SourceError

CHUNK_BYTES = 1 << 20


class UnreachableSourceError(SourceError):
    """It may be there later: the network, or the storage, failed."""


class RefusedSourceError(SourceError):
    """It is never fetched: too large, or an address that is not for us."""


@dataclass(frozen=True)
class LocalAudio:
    """A file on this machine that does not change while it is sent."""

    path: Path
    sha256: str
    size_bytes: int


class Sources:
    """Fetches items. Copies lie in a folder of this process's own, which goes with it."""

    def __init__(self, spool_dir: Path | None = None):
        """spool_dir : where copies lie, the system's temporary folder unless given"""
        self.max_bytes: int | None = None
        """Most of one file; the server's limit, once it is known."""
        self._spool = tempfile.TemporaryDirectory(prefix="aircheck-bulk-", dir=spool_dir, ignore_cleanup_errors=True)

    def close(self) -> None:
        self._spool.cleanup()

    @asynccontextmanager
    async def fetched(self, uri: str) -> AsyncIterator[LocalAudio]:
        """The file, for as long as the block runs. Raises SourceError, UnreachableSourceError, RefusedSourceError."""
        if "://" not in uri or uri.startswith("file://"):
            path = Path(uri.removeprefix("file://"))
            before = await asyncio.to_thread(self._stat, path)
            yield await asyncio.to_thread(self._hashed, path)
            if _identity(await asyncio.to_thread(self._stat, path)) != _identity(before):
                raise UnreachableSourceError("changed while it was read", uri)
            return
        handle, name = tempfile.mkstemp(dir=self._spool.name)
        path = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                audio = await asyncio.to_thread(self._copied, uri, file, path)
            yield audio
        finally:
            path.unlink(missing_ok=True)

    def _stat(self, path: Path) -> os.stat_result:
        try:
            stat = path.stat()
        except OSError as error:
            raise SourceError(f"cannot be read: {error.strerror}", str(path)) from None
        self._check_size(stat.st_size, str(path))
        return stat

    def _hashed(self, path: Path) -> LocalAudio:
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                return LocalAudio(path, digest, file.tell())
        except OSError as error:
            raise SourceError(f"cannot be read: {error.strerror}", str(path)) from None

    def _copied(self, uri: str, file: Any, path: Path) -> LocalAudio:
        fsspec = imported("fsspec")
        digest, size_bytes = hashlib.sha256(), 0
        try:
            with fsspec.open(uri, "rb") as remote:
                while chunk := remote.read(CHUNK_BYTES):
                    size_bytes += len(chunk)
                    self._check_size(size_bytes, uri)
                    digest.update(chunk)
                    file.write(chunk)
        except FileNotFoundError:
            raise SourceError("is not there", uri) from None
        except (ImportError, ValueError) as error:
            raise SourceError(f"cannot be opened: {error}", uri) from None
        except OSError as error:
            raise UnreachableSourceError(f"cannot be read: {error}", uri) from None
        file.flush()
        return LocalAudio(path, digest.hexdigest(), size_bytes)

    def _check_size(self, size_bytes: int, uri: str) -> None:
        if self.max_bytes is not None and size_bytes > self.max_bytes:
            raise RefusedSourceError(f"has more than {self.max_bytes} bytes, the server's limit", uri)


def _identity(stat: os.stat_result) -> tuple[int, ...]:
    return stat.st_ino, stat.st_size, stat.st_mtime_ns
