"""The process that decoder processes are forked from: everything is imported and warm, and their memory is shared.

    python -m aircheck.gateway.decoding.zygote CONTROL_FD PARENT_PID LIMITS

It holds nothing of the gateway's: no keys, no tokens, no sockets but CONTROL_FD. On that, each message of the gateway
brings the far end of a connection, and is answered by `{"pid": ...}` with a pidfd of the process that serves it.
`{"exited": pid, "status": ...}` follows when that has ended.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import sys
from typing import NoReturn

from aircheck.gateway.decoding.messages import EXIT_FAULT, EXIT_MEMORY, MAX_CONTROL_BYTES
from aircheck.gateway.decoding.sandbox import SandboxLimits, check_supported, confine, die_with_parent


def main() -> None:
    """Fork on demand until the gateway is gone."""
    control_fd, parent, limits = int(sys.argv[1]), int(sys.argv[2]), SandboxLimits(**json.loads(sys.argv[3]))
    die_with_parent(parent)
    control = socket.socket(fileno=control_fd)
    if limits.is_confined:
        check_supported()
    _load()
    control.send(json.dumps({"ready": os.getpid()}).encode())
    poll = select.poll()
    poll.register(control, select.POLLIN)
    children: dict[int, int] = {}  # pidfd: pid
    while True:
        for fd, _ in poll.poll():
            if fd == control_fd:
                try:
                    message, files, _, _ = socket.recv_fds(control, MAX_CONTROL_BYTES, 1)
                except ConnectionResetError:  # the gateway went with messages unread
                    return
                if not message:
                    return
                pid = _fork(control, files[0], limits)
                pidfd = os.pidfd_open(pid)
                poll.register(pidfd, select.POLLIN)
                children[pidfd] = pid
                socket.send_fds(control, [json.dumps({"pid": pid}).encode()], [pidfd])
            else:
                poll.unregister(fd)
                pid, status = os.waitpid(children.pop(fd), 0)
                os.close(fd)
                control.send(json.dumps({"exited": pid, "status": os.waitstatus_to_exitcode(status)}).encode())


def _load() -> None:
    import torch

    from aircheck.gateway.decoding.worker import warm_up

    torch.set_num_threads(1)
    warm_up()
    gc.collect()
    gc.freeze()  # or every collection in a child would touch, and so copy, all pages
    if (threads := len(os.listdir("/proc/self/task"))) > 1:
        raise RuntimeError(f"{threads} threads run where processes are forked from")


def _fork(control: socket.socket, connection_fd: int, limits: SandboxLimits) -> int:
    zygote = os.getpid()
    pid = os.fork()
    if pid:
        os.close(connection_fd)
        return pid
    _work(control, connection_fd, limits, zygote)


def _work(control: socket.socket, connection_fd: int, limits: SandboxLimits, zygote: int) -> NoReturn:
    status = EXIT_FAULT
    try:
        die_with_parent(zygote)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        control.close()
        from aircheck.gateway.decoding.worker import Worker

        silence = os.open(os.devnull, os.O_RDWR)  # FFmpeg may quote the file
        for fd in (0, 1, 2):
            os.dup2(silence, fd)
        connection = os.dup2(connection_fd, 3)
        os.closerange(4, 1024)
        worker = Worker(socket.socket(fileno=connection))
        confine(limits)
        worker.serve()
        status = 0
    except MemoryError:
        status = EXIT_MEMORY
    finally:
        os._exit(status)


if __name__ == "__main__":
    main()
