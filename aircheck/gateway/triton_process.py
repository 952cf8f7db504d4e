"""One run of Triton: started behind a reaper, listening on Unix sockets of a private directory, and ended for good.

Sockets in a directory of mode 0700 instead of ports: nobody but this user reaches Triton, on this machine or another,
whatever the gateway's own host is. Its HTTP endpoints are off but for the metrics.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from aircheck.gateway import reaper
from aircheck.gateway.environment import triton_environment
from aircheck.gateway.errors import BusyError, WindowError
from aircheck.gateway.processes import model_name
from aircheck.gateway.triton_link import LostError, Served, TritonLink
from aircheck.gateway.workspace import Workspace
from aircheck.settings import Settings
from aircheck.tracing import spans
from aircheck.triton import TritonCrashError, TritonError, find
from aircheck.triton_command import triton_command
from aircheck.triton_log import LogLine, LogReader

OnLog = Callable[[LogLine], None]

_READY_POLL_S = 0.1
_SIGNALLED = 128  # least exit status of the reaper for a Triton that a signal ended
_REAPING_S = 5.0  # after which the reaper itself is stopped, or waits for the kernel
_MAX_SOCKET_PATH = 100  # bytes; sockaddr_un has 108
_MAX_LINE = 16 * 2**10  # of the log


class TritonProcess:
    """A Triton that serves the ensemble and its models, between `start` and `kill`."""

    def __init__(self, settings: Settings, on_log: OnLog, workspace: Workspace):
        self._settings, self._on_log, self._workspace = settings, on_log, workspace
        self._tail: collections.deque[str] = collections.deque(maxlen=60)
        self._errors: collections.deque[str] = collections.deque(maxlen=60)
        self._reader: asyncio.Task[None] | None = None
        self._reaper: asyncio.subprocess.Process | None = None
        self._run_dir = workspace.run_dir
        self.pid = 0
        self.link = TritonLink(self._run_dir)
        self.served = Served()
        """What it serves, once it has started."""

    async def start(self) -> None:
        """Returns when all models are ready, and have answered.

        Raises TritonError when a model cannot be loaded (with Triton's own words), or `ready_timeout_s` runs out,
        TritonCrashError when a signal ended it; nothing is left behind then."""
        try:
            await self._spawn()
            await self._wait_until_ready()
            self.restrict_shared_memory()
            self.served = await self._first_answer()
        except BaseException:
            await self.kill()
            raise

    def processes(self) -> dict[int, str]:
        """Process ids of Triton, the models and the reaper, with their names; a model may have several."""
        assert self._reaper is not None
        models = {pid: name for pid in reaper.children(self.pid) if (name := model_name(pid))}
        return {self.pid: "tritonserver", self._reaper.pid: "reaper", **models}

    def shared_memory(self) -> list[Path]:
        """The regions through which Triton and the models exchange tensors."""
        return [Path(region) for region in reaper.regions(self._workspace.name)]

    def restrict_shared_memory(self) -> None:
        """Lets their owner alone read the regions. Triton makes them 0644 whatever the umask, before any request."""
        for region in self.shared_memory():
            region.chmod(0o600)

    async def kill(self) -> None:
        """Ends Triton and everything it started, and removes what they leave. May be called again.

        By SIGKILL: nobody waits for an answer any more, the models keep nothing, and to unload them takes seconds.
        """
        if self._reaper is not None:
            assert self._reaper.stdin is not None
            if not self._reaper.stdin.is_closing():
                self._reaper.stdin.write(reaper.END)
            self._reaper.stdin.close()
        await self.link.close()
        if self._reaper is not None:
            try:
                await asyncio.wait_for(self._reaper.wait(), _REAPING_S)
            except TimeoutError:
                self._reaper.kill()
                await self._reaper.wait()
        if self.pid:  # the reaper may have been killed itself
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        self._workspace.clean()
        if self._reader is not None:
            await asyncio.wait([self._reader], timeout=5)
            self._reader.cancel()

    async def _spawn(self) -> None:
        triton = find(self._settings.triton)
        if len(os.fsencode(self._run_dir)) > _MAX_SOCKET_PATH - 20:
            raise TritonError(f"the path of {self._run_dir} is too long for a Unix socket; set TMPDIR to a shorter one")
        self._run_dir.mkdir(mode=0o700)
        shm_prefix, listen = f"{self._workspace.name}_", self.link.listen_arguments()
        command = triton_command(triton, self._settings, self._run_dir, listen, shm_prefix)
        self._reaper = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", reaper.__file__),
            *(str(os.getpid()), self._workspace.name, str(self._workspace.folder)),
            *command,
            env=spans.triton_environment({**triton_environment(self._settings), **triton.environment(self._run_dir)}),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches the gateway, which stops Triton in order
        )
        assert self._reaper.stdout is not None
        first = await self._reaper.stdout.readline()
        if not first.strip().isdigit():
            raise TritonError(f"Triton was not started: {first.decode(errors='replace').strip()}")
        self.pid = int(first)
        self._reader = asyncio.create_task(self._read_log(self._reaper.stdout))

    async def _read_log(self, stream: asyncio.StreamReader) -> None:
        reader = LogReader(has_gpu=os.path.exists("/dev/nvidiactl"))
        rest = b""
        while chunk := await stream.read(_MAX_LINE):
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > _MAX_LINE:
                lines, rest = [*lines, rest], b""
            for raw in lines:
                line = reader.read(raw.decode(errors="replace").rstrip("\r"))
                self._tail.append(line.text)
                if line.level == "error" and not line.noise:
                    self._errors.append(line.text)
                with contextlib.suppress(OSError, ValueError):  # a closed terminal must not stop the reading
                    self._on_log(line)

    async def _wait_until_ready(self) -> None:
        assert self._reaper is not None
        deadline_s = asyncio.get_running_loop().time() + self._settings.ready_timeout_s
        while asyncio.get_running_loop().time() < deadline_s:
            if self._reaper.returncode is not None:
                assert self._reader is not None
                await asyncio.wait([self._reader], timeout=5)
                said = "\n".join(self._errors or self._tail)
                fault = TritonCrashError if self._reaper.returncode >= _SIGNALLED else TritonError
                raise fault(f"Triton stopped while loading (exit status {self._reaper.returncode}):\n{said}")
            if await self.link.ready():
                return
            await asyncio.sleep(_READY_POLL_S)
        raise TritonError(
            f"the models were not ready after {self._settings.ready_timeout_s:g} s; a first download of weights takes "
            "longer: raise AIRCHECK_READY_TIMEOUT_S"
        )

    async def _first_answer(self) -> Served:
        try:
            return await self.link.served()
        except (LostError, BusyError, WindowError, TimeoutError) as error:
            raise TritonError(f"the models are loaded and do not answer: {error}") from None
