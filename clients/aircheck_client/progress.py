"""How far a scan is: a bar where somebody watches, a line for each event where it goes into a log."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Protocol

from aircheck_client.schema import clock

EVERY_S = 30.0  # between two lines about one file in a log


class Step(Protocol):
    """Says how far one file is."""

    def __call__(self, checked_s: float, recording_s: float | None) -> None: ...


class Bar:
    """For a terminal."""

    def __init__(self, stream: IO[str]):
        from rich.console import Console

        self._console = Console(file=stream, highlight=False)

    @contextmanager
    def file(self, name: str) -> Iterator[Step]:
        """A bar that counts seconds of audio, while the block runs."""
        from rich.markup import escape
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[at]}"))
        with Progress(
            *columns, TimeElapsedColumn(), TimeRemainingColumn(), console=self._console, transient=True
        ) as bar:
            task = bar.add_task(escape(name), total=None, at="")

            def step(checked_s: float, recording_s: float | None) -> None:
                at = clock(checked_s) + (f" of {clock(recording_s)}" if recording_s else "")
                bar.update(task, completed=checked_s, total=recording_s, at=at)

            yield step

    def error(self, text: str) -> None:
        self._console.print(f"error: {text}", style="red", markup=False, soft_wrap=True)


class Lines:
    """For a log: one line an event, never wrapped. Where it cannot be written, the exit code still tells."""

    def __init__(self, stream: IO[str] | None):
        self._stream = stream

    @contextmanager
    def file(self, name: str) -> Iterator[Step]:
        said_at_s = time.monotonic()

        def step(checked_s: float, recording_s: float | None) -> None:
            nonlocal said_at_s
            if time.monotonic() - said_at_s >= EVERY_S:
                said_at_s = time.monotonic()
                self._say(f"{name}: {clock(checked_s)}" + (f" of {clock(recording_s)}" if recording_s else ""))

        yield step

    def error(self, text: str) -> None:
        self._say(f"error: {text}")

    def _say(self, text: str) -> None:
        if self._stream is None:
            return
        try:
            self._stream.write(" ".join(text.splitlines()) + "\n")
            self._stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())  # or the interpreter fails to flush it


def reporter(stream: IO[str] | None) -> Bar | Lines:
    """As fits the stream; None: it is closed."""
    return Bar(stream) if stream is not None and stream.isatty() else Lines(stream)
