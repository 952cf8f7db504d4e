"""A program that confines itself as decoder processes are, tries what they may not do, and prints what came of it."""

import ctypes
import errno
import json
import mmap
import os
import resource
import socket
import sys
import threading

from aircheck.gateway.decoding.sandbox import SandboxLimits, confine


def outcome(attempt):
    try:
        attempt()
    except MemoryError:
        return "ENOMEM"
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"


def system_call(number, *arguments):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), "")


def thread():
    worker = threading.Thread(target=lambda: None)
    worker.start()
    worker.join()


def main():
    victim, other = sys.argv[1], int(sys.argv[2])
    unconnected = socket.socket(socket.AF_INET)
    ours, _ = socket.socketpair()
    x86 = os.uname().machine == "x86_64"
    confine(SandboxLimits(memory_bytes=2**28))
    attempts = {
        "read a file": lambda: os.open(victim, os.O_RDONLY),
        "make a file": lambda: os.open(victim + "2", os.O_WRONLY | os.O_CREAT),
        "look at a file": lambda: os.stat(victim),
        "list a folder": lambda: os.listdir("/"),
        "remove a file": lambda: os.unlink(victim),
        "rename a file": lambda: os.rename(victim, victim + "2"),
        "make a socket": lambda: socket.socket(socket.AF_INET),
        "make a unix socket": lambda: socket.socket(socket.AF_UNIX),
        "connect": lambda: unconnected.connect(("127.0.0.1", 9)),
        "fork": os.fork,
        "vfork": (lambda: system_call(58)) if x86 else os.fork,
        "clone3": lambda: system_call(435, 0, 0),
        "run a program": lambda: os.execv("/bin/true", ["/bin/true"]),
        "signal another": lambda: os.kill(other, 0),  # no signal: whether it may
        "be traced": lambda: system_call(101 if x86 else 117, 0, 0, 0, 0),
        "read another's memory": lambda: system_call(310 if x86 else 270, other, 0, 0, 0, 0, 0),
        "raise a limit": lambda: system_call(302 if x86 else 261, 0, resource.RLIMIT_CPU, 0, 0),
        "allocate 8 GB": lambda: mmap.mmap(-1, 2**33),
        "allocate 8 GB in Python": lambda: bytearray(2**33),
        "allocate a little": lambda: bytearray(2**24),
        "start a thread": thread,
        "speak to the gateway": lambda: ours.send(b"x"),
    }
    outcomes = {name: outcome(attempt) for name, attempt in attempts.items()}
    sys.stdout.write(json.dumps(outcomes))
    sys.stdout.flush()
    if len(sys.argv) > 3:
        while True:  # until the limit on CPU time ends it
            pass


if __name__ == "__main__":
    main()
