"""A small process between the gateway and Triton that ends all that Triton started as soon as either of them ends.

    python -I -S reaper.py PARENT_PID NAME FOLDER COMMAND…

A process cannot clean up after its own kill -9, and the parent-death signal of prctl(2) reaches children, not
grandchildren: Triton's model processes would go on without it, and keep its shared memory. This one waits for the end
of the gateway or of Triton, or for a word on its standard input, kills the rest, and removes the shared memory and the
run directory; with the gateway, all that was the gateway's (workspace.py). It has nothing to do otherwise, and needs
the standard library alone.

Its first line of output is Triton's process id; what follows is Triton's. It exits with Triton's status.
"""

from __future__ import annotations

import contextlib
import ctypes
import glob
import os
import select
import shutil
import signal
import sys

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # prctl(2)
RUN_DIR = "triton"  # in the gateway's folder: Triton's sockets
END = b"\n"  # the word on standard input for a Triton that the gateway wants no more
_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # the gateway decides when Triton ends


def main() -> int:
    parent_pid, name, folder, *command = sys.argv[1:]
    for signum in _IGNORED:
        signal.signal(signum, signal.SIG_IGN)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)  # model processes that lose Triton become children of this one
    parent = os.pidfd_open(int(parent_pid))
    if os.getppid() != int(parent_pid):
        return 1  # it ended before it could be watched
    reaper_pid = os.getpid()
    pid = os.fork()
    if pid == 0:
        _become(command, reaper_pid)
    try:
        _wait(parent, os.pidfd_open(pid))
    finally:
        status = end(pid)
        (clean_all if _has_ended(parent) or _is_closed(0) else clean)(name, folder)
    return os.waitstatus_to_exitcode(status)


def end(group: int) -> int:
    """Kills the process group of a Triton and all children of this process; returns Triton's wait status."""
    status = 0
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
    while True:
        try:
            pid, its_status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return status
        if pid == group:
            status = its_status
        if pid == 0:
            for child in children(os.getpid()):
                os.kill(child, signal.SIGKILL)  # no race: only this process reaps them
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)


def owner(name: str) -> str:
    """The file that a gateway of this name locks."""
    return f"/dev/shm/{name}.owner"


def name_of(owner: str) -> str:
    """The name that `owner` gives this file."""
    return os.path.basename(owner).removesuffix(".owner")


def regions(name: str) -> list[str]:
    """Triton's shared memory."""
    return glob.glob(f"/dev/shm/{glob.escape(name)}_*")


def clean(name: str, folder: str) -> None:
    """Removes a Triton's shared memory and its run directory."""
    for region in regions(name):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(region)
    shutil.rmtree(os.path.join(folder, RUN_DIR), ignore_errors=True)


def clean_all(name: str, folder: str) -> None:
    """Removes all that is a gateway's."""
    clean(name, folder)
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(owner(name))


def children(pid: int) -> list[int]:
    """Process ids of the children of a process."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError), open(f"/proc/{name}/stat") as stat:
            parent = stat.read().rpartition(")")[2].split()[1]  # proc(5): pid (command) state ppid
            if int(parent) == pid:
                found.append(int(name))
    return found


def _wait(*fds: int) -> None:
    """Until one of the pidfds is ready, since its process has ended, or standard input holds a word or is closed."""
    poll = select.poll()
    for fd in (0, *fds):
        poll.register(fd, select.POLLIN)
    poll.poll()


def _has_ended(pidfd: int) -> bool:
    return bool(select.select([pidfd], [], [], 0)[0])


def _is_closed(pipe: int) -> bool:
    """Whether it is without a word: who held it is ending, which shows here before it shows by its pidfd."""
    return bool(select.select([pipe], [], [], 0)[0]) and not os.read(pipe, 1)


def _become(command: list[str], reaper_pid: int) -> None:
    try:
        os.setpgid(0, 0)  # so that it and its model processes can be killed as one
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != reaper_pid:
            os._exit(1)
        for signum in _IGNORED:
            signal.signal(signum, signal.SIG_DFL)
        os.umask(0o077)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.write(1, b"%d\n" % os.getpid())
        os.execv(command[0], command)
    except OSError as error:
        os.write(2, f"{command[0]}: {error.strerror}\n".encode())
    finally:
        os._exit(127)


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


if __name__ == "__main__":
    sys.exit(main())
