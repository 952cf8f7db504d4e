"""Sources of audio that behave as disks, pipes and networks do."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Pipe:
    """A file object that can only be read."""

    name = "pipe.mp3"

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def read(self, size: int) -> bytes:
        piece = self._data[self._at : self._at + size]
        self._at += len(piece)
        return piece


class Interrupted(Pipe):
    """A file object that stops before the end of `data` until `go_on` is set; then `act` is called, and may raise."""

    name = "interrupted.mp3"

    def __init__(self, data: bytes, act: Callable[[], None] = lambda: None) -> None:
        super().__init__(data)
        self.go_on, self._act = threading.Event(), act
        self._pause_at = len(data) * 3 // 4

    def read(self, size: int) -> bytes:
        if self._at < self._pause_at:
            return super().read(min(size, self._pause_at - self._at))
        if not self.go_on.is_set():
            self.go_on.wait(60)
            self._act()
        return super().read(size)
