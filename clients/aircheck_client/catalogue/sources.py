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
from typing import BinaryIO

from aircheck_client.catalogue.extras import imported
from aircheck_client.catalogue.fetch import Http, RefusedSourceError, UnreachableSourceError
from aircheck_client.catalogue.items import SourceError

CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class LocalAudio:
    """Bytes on this machine that do not change while they are sent. `source`: a path, or an open file."""

    source: Path | BinaryIO
    sha256: str
    size_bytes: int


class Sources:
    """Fetches items. A copy is a file without a name, which goes with this process however that ends."""

    def __init__(self, spool_dir: Path | None = None, allow_private: bool = False):
        """spool_dir : where copies lie, the system's temporary folder unless given
        allow_private : whether http may lead to private addresses
        """
        self.http = Http(allow_private)
        self.max_bytes: int | None = None
        """Most of one file; the server's limit, once it is known."""
        self._spool_dir = spool_dir

    async def __aenter__(self) -> Sources:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.close()

    @asynccontextmanager
    async def fetched(self, uri: str, integrity: str = "") -> AsyncIterator[LocalAudio]:
        """The file, for as long as the block runs. Raises SourceError, UnreachableSourceError, RefusedSourceError.

        integrity : what http must bring, as Subresource Integrity
        """
        if "::" in uri.partition("?")[0] and "://" in uri:
            raise RefusedSourceError("is a chain of fsspec's, which may lead anywhere", uri)
        if "://" not in uri or uri.startswith("file://"):
            path = Path(uri.removeprefix("file://"))
            before = await asyncio.to_thread(self._stat, path)
            yield await asyncio.to_thread(self._hashed, path)
            if _identity(await asyncio.to_thread(self._stat, path)) != _identity(before):
                raise UnreachableSourceError("changed while it was read", uri)
            return
        with tempfile.TemporaryFile(dir=self._spool_dir) as file:
            file.raw.name = uri  # type: ignore[attr-defined]  # what errors call it; else the number of its descriptor
            if uri.startswith(("http://", "https://")):
                sha256, size_bytes = await self.http.download(uri, file, self.max_bytes, integrity)
            else:
                sha256, size_bytes = await asyncio.to_thread(self._copied, uri, file)
            file.seek(0)
            yield LocalAudio(file, sha256, size_bytes)

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

    def _copied(self, uri: str, file: BinaryIO) -> tuple[str, int]:
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
        return digest.hexdigest(), size_bytes

    def _check_size(self, size_bytes: int, uri: str) -> None:
        if self.max_bytes is not None and size_bytes > self.max_bytes:
            raise RefusedSourceError(f"has more than {self.max_bytes} bytes, the server's limit", uri)


def _identity(stat: os.stat_result) -> tuple[int, ...]:
    return stat.st_ino, stat.st_size, stat.st_mtime_ns
