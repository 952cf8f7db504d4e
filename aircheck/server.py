"""The whole server as a child of this process: what tests, the demo and benchmarks start.

with Server(Settings.load()) as server:
    print(server.url)  # 127.0.0.1:8001
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
from select import select
from types import TracebackType
from typing import Any, Literal

from aircheck.gateway.errors import StartError as StartError
from aircheck.settings import PREFIX, Settings

_PR_SET_PDEATHSIG = 1  # prctl(2)
_STOP_S = 15.0  # beyond `exit_timeout_s`, until what is left is killed


class Server:
    """A gateway and all that it starts. `start` returns when it serves; leaving the `with` block stops it."""

    def __init__(self, settings: Settings, log: Literal["none", "short", "whole"] = "none"):
        """log : what the server prints on standard error: nothing; models as they get ready and faults; all of it"""
        self.settings, self._log = settings, log
        self._process: subprocess.Popen[bytes] | None = None
        self._addresses: dict[str, Any] = {}

    @property
    def url(self) -> str:
        """host:port for gRPC clients on this machine."""
        return str(self._found("url"))

    @property
    def metrics_url(self) -> str:
        """URL of the Prometheus metrics."""
        return str(self._found("metrics_url"))

    @property
    def triton_url(self) -> str:
        """Address of Triton's own gRPC, for tritonclient on this machine; internal."""
        return str(self._found("triton"))

    @property
    def pid(self) -> int:
        """Process id of the gateway. Raises StartError when it was not started."""
        return self._running().pid

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Waits until the server takes calls. Raises StartError, with its own words, when it cannot."""
        read_fd, write_fd = os.pipe()
        environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "aircheck.gateway", "--ready-fd", str(write_fd), "--log", self._log],
                env={
                    **environment,
                    "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                    **self.settings.environment(),
                },
                stdin=subprocess.DEVNULL,
                pass_fds=(write_fd,),
                start_new_session=True,  # Ctrl-C reaches us, and we stop it in order
                preexec_fn=_die_with_parent,
            )
        finally:
            os.close(write_fd)
        try:
            self._addresses = self._answer(read_fd)
        except BaseException:
            self.stop()
            raise

    def wait(self) -> int:
        """Blocks until the server ends; returns its exit status."""
        return self._running().wait()

    def stop(self) -> None:
        """Stops the server: calls under way get `exit_timeout_s` to finish, then everything it started is killed."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(self.settings.exit_timeout_s + _STOP_S)
        except subprocess.TimeoutExpired:
            pass
        finally:  # also when a second signal interrupts the wait
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _answer(self, read_fd: int) -> dict[str, Any]:
        with os.fdopen(read_fd, "rb") as pipe:
            select([pipe], [], [])  # it ends when the process does
            line = pipe.readline()
        answer = json.loads(line) if line else {"error": f"the server ended with status {self._running().wait()}"}
        if "error" in answer:
            raise StartError(answer["error"])
        return dict(answer)

    def _found(self, name: str) -> Any:
        self._running()
        return self._addresses[name]

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise StartError("the server is not running; call start() first")
        return self._process


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
