"""Where audio comes from: a path, bytes, an open file, or a URL that fsspec knows; read in chunks, never whole."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from aircheck_client.errors import InvalidAudioError

CHUNK_BYTES = 256 * 1024

Source = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO


def name_of(source: Source) -> str:
    """What errors call it; empty for bytes."""
    if isinstance(source, bytes | bytearray | memoryview):
        return ""
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    return str(getattr(source, "name", ""))


@contextmanager
def opened(source: Source) -> Iterator[BinaryIO]:
    """The source, open for reading; closed at the end if it was opened here. Raises InvalidAudioError."""
    if isinstance(source, bytes | bytearray | memoryview):
        yield io.BytesIO(source)
    elif isinstance(source, str) and "://" in source:
        with _remote(source) as file:
            yield file
    elif isinstance(source, str | os.PathLike):
        with _local(Path(source)) as file:
            yield file
    else:
        yield source


def size_of(file: BinaryIO) -> int:
    """Bytes from where the file stands to its end; 0 where that cannot be told."""
    try:
        at = file.tell()
        size = file.seek(0, os.SEEK_END) - at
        file.seek(at)
    except (OSError, ValueError, AttributeError):
        return 0
    return size


def read(file: BinaryIO, size: int, source: Source) -> bytes:
    """The next bytes. Raises InvalidAudioError, TypeError."""
    try:
        data = file.read(size)
    except OSError as error:
        raise InvalidAudioError(f"cannot be read: {error.strerror or error}", name_of(source)) from None
    if isinstance(data, str):
        raise TypeError(f"{name_of(source) or 'the file'} is open as text; open it with mode 'rb'")
    return data if isinstance(data, bytes) else bytes(data)


def read_whole(source: Source, max_bytes: int) -> bytes:
    """A clip's bytes. Raises InvalidAudioError when there are none, or too many."""
    with opened(source) as file:
        data = read(file, max_bytes + 1, source)
    if not data:
        raise InvalidAudioError("the audio has 0 bytes; was the upload cut off?", name_of(source))
    if len(data) > max_bytes:
        raise InvalidAudioError(f"more than {max_bytes} bytes are no clip; use scan", name_of(source))
    return data


def _local(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise InvalidAudioError(f"cannot be read: {error.strerror}", str(path)) from None


@contextmanager
def _remote(url: str) -> Iterator[BinaryIO]:
    try:
        import fsspec
    except ImportError:
        raise InvalidAudioError("URLs need fsspec: pip install 'aircheck-client[urls]'", url) from None
    try:
        file = fsspec.open(url, "rb")
        with file as stream:
            yield stream
    except (OSError, ValueError, ImportError) as error:
        raise InvalidAudioError(f"cannot be read: {error}", url) from None
