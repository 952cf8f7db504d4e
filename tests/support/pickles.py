"""Pickles that no loader may open."""

from __future__ import annotations

from pathlib import Path


class Runs:
    """Pickled, this is code that makes a file where it is unpickled."""

    def __init__(self, made: Path) -> None:
        self.made = made

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.made,)
