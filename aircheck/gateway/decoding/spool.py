"""Uploads on disk: written as they come, read by a decoder process while they do, and gone with their scan."""

from __future__ import annotations

import asyncio
import errno
import os
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from aircheck.gateway.decoding.errors import SpoolFullError
from preprocessing.errors import LimitExceededError

_WRITTEN_AT_ONCE_BYTES = 2**20  # of an upload, into the page cache; more may have to wait for the disk, in a thread
READ_AHEAD_BYTES = 8 * 2**20  # that are taken in beyond what the decoder has asked for


@dataclass
class SpoolQuota:
    """What all uploads together may hold."""

    directory: Path
    max_bytes: int
    max_file_bytes: int  # of one upload
    used_bytes: int = field(default=0, init=False)

    def reserve(self, size: int) -> None:
        """Raises SpoolFullError."""
        if self.used_bytes + size > self.max_bytes:
            raise SpoolFullError(f"uploads hold {self.used_bytes} of {self.max_bytes} bytes; try again later")
        self.used_bytes += size

    def release(self, size: int) -> None:
        self.used_bytes -= size


class Spool:
    """One upload: a file without a name, which the system removes whatever happens to this process."""

    def __init__(self, quota: SpoolQuota, file: int, readable: int) -> None:
        self._quota, self._file = quota, file
        self._readable = readable
        self.size = 0
        self._reserved_bytes = 0
        self._wanted = 0  # up to where the decoder has asked for bytes
        self._is_complete = self._is_closed = self._is_writing = False
        self._closing = threading.Lock()
        self._waiting: set[asyncio.Future[None]] = set()

    @classmethod
    def create(cls, quota: SpoolQuota) -> Spool:
        """Raises SpoolFullError when the directory takes no more files."""
        try:
            file, name = tempfile.mkstemp(prefix="aircheck-", dir=quota.directory)
            try:
                readable = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
            finally:
                os.unlink(name)
        except OSError as error:
            raise SpoolFullError(f"an upload cannot be kept: {error.strerror}") from None
        return cls(quota, file, readable)

    @property
    def readable_file(self) -> int:
        """A file descriptor that can only be read: what a decoder process gets."""
        return self._readable

    @property
    def is_complete(self) -> bool:
        """No more bytes follow."""
        return self._is_complete

    async def append(self, chunk: bytes) -> None:
        """Raises SpoolFullError, and LimitExceededError for more than one upload may hold."""
        if self._is_complete or self._is_closed:
            raise RuntimeError("the upload has ended")
        if self.size + len(chunk) > self._quota.max_file_bytes:
            raise LimitExceededError(f"the file exceeds the limit of {self._quota.max_file_bytes} bytes")
        self._quota.reserve(len(chunk))
        self._reserved_bytes += len(chunk)
        self._is_writing = True
        try:
            if self.size + len(chunk) <= _WRITTEN_AT_ONCE_BYTES:
                self._write(chunk, self.size)
            else:
                await asyncio.get_running_loop().run_in_executor(None, self._write, chunk, self.size)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise SpoolFullError("the disk that uploads are kept on is full; try again later") from None
            raise
        self.size += len(chunk)
        self._wake()

    def complete(self) -> None:
        """No more bytes follow."""
        self._is_complete = True
        self._wake()

    async def room(self) -> None:
        """Waits until the decoder can use more bytes; at once when the upload has ended."""
        await self._until(lambda: self.size < self._wanted + READ_AHEAD_BYTES)

    def want(self, end: int) -> None:
        """The decoder needs, or has read, the bytes before `end`."""
        if end > self._wanted:
            self._wanted = end
            self._wake()

    async def arrived(self, end: int) -> None:
        """Waits until the bytes before `end` are there, or no more follow."""
        await self._until(lambda: self.size >= end)

    def close(self) -> None:
        """Gives the disk back; may be called at any time, and again."""
        if self._is_closed:
            return
        with self._closing:
            self._is_closed = True
            if not self._is_writing:
                os.close(self._file)
        os.close(self._readable)
        self._quota.release(self._reserved_bytes)
        self._wake()

    def _write(self, chunk: bytes, at: int) -> None:
        """In a thread. A descriptor is never closed under a write: its number may be another file's by then."""
        try:
            view = memoryview(chunk)
            while view:
                written = os.pwrite(self._file, view, at)
                view, at = view[written:], at + written
        finally:
            with self._closing:
                self._is_writing = False
                if self._is_closed:
                    os.close(self._file)

    async def _until(self, holds: Callable[[], bool]) -> None:
        while not (holds() or self._is_complete or self._is_closed):
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.add(waiter)
            try:
                await waiter
            finally:
                self._waiting.discard(waiter)

    def _wake(self) -> None:
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)
