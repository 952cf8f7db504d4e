"""The processes of a running Triton: who they are, and when one of them ends or stops."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

POLL_S = 0.25


class ProcessWatch:
    """Watches processes until one of them ends, or is stopped (SIGSTOP, a debugger) for too long.

    An end is noticed at once, through pidfds; a stop within POLL_S, through /proc.
    """

    def __init__(self, processes: Mapping[int, str], pause_limit_s: float):
        """`processes`: names by process id."""
        self._processes, self._pause_limit_s = processes, pause_limit_s

    async def fault(self) -> str:
        """Returns what happened first, in words."""
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[str] = loop.create_future()
        fds: list[int] = []

        def note(pid: int) -> None:
            if not ended.done():
                ended.set_result(f"the process of {self._processes[pid]} ({pid}) ended")

        try:
            for pid in self._processes:
                try:
                    fds.append(os.pidfd_open(pid))
                except ProcessLookupError:
                    note(pid)
                    break
                loop.add_reader(fds[-1], note, pid)
            stopped_since_s: dict[int, float] = {}
            while True:
                await asyncio.wait([ended], timeout=POLL_S)
                if ended.done():
                    return ended.result()
                now_s = time.monotonic()
                stopped_since_s = {
                    pid: stopped_since_s.get(pid, now_s) for pid in self._processes if state(pid) in ("T", "t")
                }
                for pid, since_s in stopped_since_s.items():
                    if now_s - since_s >= self._pause_limit_s:
                        return f"the process of {self._processes[pid]} ({pid}) is stopped"
        finally:
            for fd in fds:
                loop.remove_reader(fd)
                os.close(fd)


def state(pid: int) -> str:
    """The kernel's letter: R, S, D, T (stopped), t (traced), Z; empty for a process that is gone. proc(5)"""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def cpu_seconds(pids: Iterable[int]) -> float:
    """CPU time that the processes have spent, of those that are there."""
    ticks = 0
    for pid in pids:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])  # proc(5): utime and stime, of all threads
    return ticks / os.sysconf("SC_CLK_TCK")


def model_name(pid: int) -> str | None:
    """Which model a process of Triton's Python backend serves; None for other processes.

    It is started with the path of its model.py: …/<model>/<version>/model.py
    """
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return next((Path(part).parts[-3] for part in command if part.endswith("/model.py")), None)
