"""Decoder processes, as the gateway holds them: started, spoken to, killed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from aircheck.gateway.decoding.errors import DecoderLostError, SandboxError
from aircheck.gateway.decoding.messages import (
    EXIT_FAULT,
    EXIT_MEMORY,
    HEADER,
    MAX_CONTROL_BYTES,
    MAX_JSON_BYTES,
    Kind,
    pack,
)
from aircheck.gateway.decoding.sandbox import SandboxLimits, allow_cpu, cpu_used_s
from aircheck.gateway.log import LOG

_READY_TIMEOUT_S = 120.0
_ROOT = Path(__file__).resolve().parents[3]


class DecoderProcess:
    """A process, and the connection to it."""

    def __init__(self, pid: int, pidfd: int, connection: socket.socket, exited: asyncio.Future[int | None]) -> None:
        self.pid, self._pidfd, self._connection = pid, pidfd, connection
        self.exited = exited
        """The exit code, or minus a signal; None where that was not to be learnt."""
        self.recordings = 0
        self._is_open = True

    async def send(self, kind: Kind, fields: dict[str, Any] | None = None) -> None:
        """Raises OSError when the process is gone."""
        await asyncio.get_running_loop().sock_sendall(self._connection, pack(kind, fields))

    def send_start(self, file: int, fields: dict[str, Any]) -> None:
        """The first message of a recording, with its file. Raises OSError when the process is gone."""
        message = pack(Kind.START, fields)
        if socket.send_fds(self._connection, [message], [file]) != len(message):
            raise BrokenPipeError("the connection to an idle process is full")

    async def receive(self, max_payload_bytes: int) -> tuple[Kind, dict[str, Any], bytes]:
        """The next message and the bytes behind it. Raises OSError when the process is gone, ValueError for rubbish."""
        json_bytes, payload_bytes = HEADER.unpack(await self._exactly(HEADER.size))
        if json_bytes > MAX_JSON_BYTES or payload_bytes > max_payload_bytes:
            raise ValueError(f"a message of {json_bytes} and {payload_bytes} bytes")
        fields = json.loads(await self._exactly(json_bytes))
        payload = bytes(await self._exactly(payload_bytes)) if payload_bytes else b""
        return Kind(fields.pop("kind")), fields, payload

    async def _exactly(self, size: int) -> bytearray:
        data = bytearray(size)
        view, loop = memoryview(data), asyncio.get_running_loop()
        while view:
            received = await loop.sock_recv_into(self._connection, view)
            if not received:
                raise ConnectionResetError
            view = view[received:]
        return data

    def cpu_used_s(self) -> float:
        """CPU seconds since it began. Raises OSError when it is gone."""
        return cpu_used_s(self.pid)

    def allow_cpu(self, used_s: float, more_s: float) -> None:
        """Lets it take `more_s` beyond `used_s`. What is gone needs none."""
        if not self.exited.done():
            with contextlib.suppress(OSError):
                allow_cpu(self.pid, used_s, more_s)

    def kill(self) -> None:
        """Ends it at once; again, or when it has ended, does nothing."""
        if self._is_open:
            self._is_open = False
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            os.close(self._pidfd)
            self._connection.close()

    async def cause(self) -> str:
        """Why it ended by itself, in words."""
        try:
            async with asyncio.timeout(2.0):
                code = await asyncio.shield(self.exited)
        except TimeoutError:
            code = None
        if code == EXIT_MEMORY:
            return "it needs more memory than a recording may take"
        if code == -signal.SIGXCPU:
            return "it needs more CPU time than a recording may take"
        if code is not None and code < 0:
            return f"the decoder crashed ({signal.Signals(-code).name})"
        return "the decoder failed" if code == EXIT_FAULT else "the decoder was killed"


class Zygote:
    """The process that decoder processes are forked from, as long as it lives."""

    def __init__(self, control: socket.socket, process: subprocess.Popen[bytes]) -> None:
        self._control, self._process = control, process
        self._starting: list[asyncio.Future[tuple[int, int]]] = []  # in the order in which they are answered
        self._exits: dict[int, asyncio.Future[int | None]] = {}
        self._start = asyncio.Lock()
        self.is_alive = True

    @classmethod
    async def launch(cls, limits: SandboxLimits) -> Zygote:
        """Raises SandboxError when it cannot start."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        command = [sys.executable, "-m", "aircheck.gateway.decoding.zygote"]
        command += [str(theirs.fileno()), str(os.getpid()), json.dumps(asdict(limits))]
        process = subprocess.Popen(
            command,
            cwd=_ROOT,
            env=_environment(),
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # a Ctrl-C is the gateway's to handle
        )
        theirs.close()
        try:
            async with asyncio.timeout(_READY_TIMEOUT_S):
                ready = await asyncio.get_running_loop().sock_recv(ours, MAX_CONTROL_BYTES)
        except BaseException:
            process.kill()
            process.wait()
            ours.close()
            raise
        if not ready:
            ours.close()
            raise SandboxError(f"the decoder process ended as it started (exit code {process.wait()}): see its output")
        zygote = cls(ours, process)
        asyncio.get_running_loop().add_reader(ours, zygote._read)
        return zygote

    async def fork(self) -> DecoderProcess:
        """A new decoder process. Raises DecoderLostError when the zygote is gone."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**20)
        started: asyncio.Future[tuple[int, int]] = asyncio.get_running_loop().create_future()
        try:
            if not self.is_alive:
                raise BrokenPipeError
            socket.send_fds(self._control, [b"fork"], [theirs.fileno()])
            self._starting.append(started)
            pid, pidfd = await started
        except BaseException as error:
            ours.close()
            if isinstance(error, OSError):
                raise DecoderLostError("the process that decoders are started from is gone") from None
            raise
        finally:
            theirs.close()
        ours.setblocking(False)
        return DecoderProcess(pid, pidfd, ours, self._exits[pid])

    def close(self) -> None:
        """Ends it, and with it all decoder processes."""
        self._lost()
        self._process.kill()
        self._process.wait()

    def _read(self) -> None:
        try:
            message, files, _, _ = socket.recv_fds(self._control, MAX_CONTROL_BYTES, 1)
        except BlockingIOError:
            return
        except OSError:
            message, files = b"", []
        if not message:
            LOG.error("the process that decoders are started from ended; the next recording starts it anew")
            self._lost()
            return
        fields = json.loads(message)
        if "pid" in fields:
            self._exits[fields["pid"]] = asyncio.get_running_loop().create_future()
            started = self._starting.pop(0)
            if started.cancelled():
                _kill(files[0])
            else:
                started.set_result((fields["pid"], files[0]))
        elif (exited := self._exits.pop(fields["exited"], None)) is not None:
            exited.set_result(fields["status"])

    def _lost(self) -> None:
        if not self.is_alive:
            return
        self.is_alive = False
        asyncio.get_running_loop().remove_reader(self._control)
        self._control.close()
        for started in self._starting:
            if not started.done():
                started.set_exception(BrokenPipeError())
        for exited in self._exits.values():
            exited.set_result(None)


def _kill(pidfd: int) -> None:
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    os.close(pidfd)


def _environment() -> dict[str, str]:
    """What the interpreter needs to start; none of the gateway's settings or secrets. One thread in every library."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "PYTHONPATH", "HOME") if name in os.environ}
    return {**kept, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "LC_ALL": "C.UTF-8"}
