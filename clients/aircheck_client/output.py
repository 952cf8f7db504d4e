"""A command's standard streams, which may be closed, full, or read by nobody any more."""

from __future__ import annotations

import io
import os
import sys
from typing import Any, BinaryIO

from rich.console import Console

from aircheck_client.errors import InvalidAudioError

STDIN = "standard input"


class OutputError(Exception):
    """Standard output cannot be written."""


def printable(text: str) -> str:
    """A file's name as bytes that no UTF-8 is become escapes."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def write(text: str) -> None:
    """To standard output, in UTF-8. Raises BrokenPipeError when nobody reads any more, else OutputError."""
    _write(text.encode("utf-8"))


def write_rich(shown: Any) -> None:
    """The same for what rich renders, in the output's own encoding."""
    kept = _Kept()
    Console(file=kept, highlight=False).print(shown, crop=False)
    _write(kept.getvalue().encode(kept.encoding, "replace"))


def discard_output() -> None:
    """Standard output goes nowhere from now on, so that the interpreter, when it ends, does not fail to flush it."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def standard_input() -> BinaryIO:
    """Unbuffered: pieces as they come, and no lock that a waiting thread could hold at the end. InvalidAudioError."""
    try:
        if sys.stdin is None:
            raise OSError(0, "it is closed")
        file = io.FileIO(sys.stdin.fileno(), closefd=False)
    except OSError as error:
        raise InvalidAudioError(f"cannot be read: {error.strerror}", STDIN) from None
    file.name = STDIN
    return file


class _Kept(io.StringIO):
    """What rich takes for standard output."""

    @property
    def encoding(self) -> str:  # type: ignore[override]  # stub: an attribute
        return (sys.stdout and sys.stdout.encoding) or "utf-8"

    def isatty(self) -> bool:
        return sys.stdout is not None and sys.stdout.isatty()


def _write(data: bytes) -> None:
    if sys.stdout is None:
        raise OutputError("is closed")
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(error.strerror or str(error)) from None
