"""What the host still has to do for a window that has left its slot, on one thread beside the workers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

_MAX_PENDING = 64  # tasks, each with up to 1.4 MB of pinned memory; one more makes its worker wait


class BackgroundThread:
    """Runs tasks one after another. Its thread starts with the first one."""

    def __init__(self, name: str) -> None:
        self._pool = ThreadPoolExecutor(1, name, initializer=torch.set_num_threads, initargs=(1,))
        self._room = threading.BoundedSemaphore(_MAX_PENDING)

    def submit(self, task: Callable[[], None]) -> None:
        """Run a task that does not raise; waits while there are too many. RuntimeError once the interpreter ends."""
        self._room.acquire()
        try:
            self._pool.submit(task).add_done_callback(lambda _: self._room.release())
        except RuntimeError:
            self._room.release()
            raise

    def close(self) -> None:
        """Run what has been submitted, then end."""
        self._pool.shutdown()
