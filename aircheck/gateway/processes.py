"""The processes of a running Triton: who they are, and when one of them ends or stops."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

POLL_S = 0.25
_STAT_BYTES = 1024  # of /proc/PID/stat: 52 numbers and a name


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
    """The kernel's letter: R, S, D, T (stopped), t (traced), Z; empty for a process that is gone."""
    return next(iter(_stat(pid)), b"").decode()


def cpu_seconds(pids: Iterable[int]) -> float:
    """CPU time that the processes have spent, of those that are there."""
    ticks = sum(int(spent) for pid in pids for spent in _stat(pid)[11:13])  # utime and stime, of all threads
    return ticks / os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> list[bytes]:
    """Of proc(5), what follows the command in parentheses; nothing for a process that is gone.

    Without pathlib and decoders, which cost more than twice as much as the kernel: it is read all the time.
    """
    try:
        file = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return []
    try:
        return os.read(file, _STAT_BYTES).rpartition(b")")[2].split()
    except ProcessLookupError:
        return []
    finally:
        os.close(file)


def model_name(pid: int) -> str | None:
    """Which model a process of Triton's Python backend serves; None for other processes.

    It is started with the path of its model.py: …/<model>/<version>/model.py
    """
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return next((Path(part).parts[-3] for part in command if part.endswith("/model.py")), None)
