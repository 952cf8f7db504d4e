"""Start, watch and stop a Triton that serves the model repository.

with Server(Settings.load()) as server:
    print(server.url)  # 127.0.0.1:8001
"""

from __future__ import annotations

import collections
import contextlib
import ctypes
import glob
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from aircheck.settings import Settings
from aircheck.triton import TritonError, find
from aircheck.triton_log import LogLine, LogReader

TOKEN_HEADER = "aircheck-token"  # gRPC callers send it as `triton-grpc-protocol-aircheck-token`
_ADMINISTRATION = ("model-repository", "logging", "trace", "shared-memory")
_RESTRICTED = (*_ADMINISTRATION, "inference", "statistics")
_PORTS = {"grpc_port": "gRPC", "http_port": "HTTP", "metrics_port": "metrics"}
_PR_SET_PDEATHSIG = 1  # prctl(2)
_UNLOAD_S = 5.0  # what unloading the models may take once no request is in flight


class Server:
    """A Triton process. `start` returns when every model is ready; leaving the `with` block stops it."""

    def __init__(self, settings: Settings, on_log: Callable[[LogLine], None] | None = None):
        """`on_log` hears every line of Triton's log, on a thread of its own."""
        self.settings = _with_ports(settings)
        self._on_log = on_log or (lambda line: None)
        self._tail: collections.deque[str] = collections.deque(maxlen=60)
        self._errors: collections.deque[str] = collections.deque(maxlen=60)
        self._drained = threading.Event()  # on shutdown: no request is in flight any more
        self._process: subprocess.Popen[str] | None = None
        self._run_dir: Path | None = None
        self._reader: threading.Thread | None = None
        self.shm_prefix = self.settings.shm_prefix or f"aircheck_{os.getpid()}_{secrets.token_hex(4)}"

    @property
    def url(self) -> str:
        """host:port for gRPC clients on this machine."""
        return f"{_reachable(self.settings.host)}:{self.settings.grpc_port}"

    @property
    def http_url(self) -> str:
        """Base URL of the HTTP endpoint, which answers health and metadata only."""
        return f"http://{_reachable(self.settings.host)}:{self.settings.http_port}"

    @property
    def metrics_url(self) -> str:
        """URL of the Prometheus metrics."""
        return f"http://{_reachable(self.settings.host)}:{self.settings.metrics_port}/metrics"

    @property
    def pid(self) -> int:
        """Process id of tritonserver. Raises TritonError when it was not started."""
        return self._running().pid

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Starts Triton and waits until all models are ready.

        Raises TritonError when a port is taken, a model cannot be loaded (with Triton's own words), or
        `ready_timeout_s` runs out. Nothing is left behind then.
        """
        for name, use in _PORTS.items():
            _refuse_taken_port(self.settings.host, getattr(self.settings, name), name, use)
        triton = find(self.settings.triton)
        self._run_dir = Path(tempfile.mkdtemp(prefix="aircheck-"))
        try:
            self._process = subprocess.Popen(
                [str(triton.binary), *triton.arguments(self._run_dir), *self._arguments()],
                env={**os.environ, **triton.environment(self._run_dir), **self.settings.environment()},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,  # Ctrl-C reaches us, and we stop Triton in order
                preexec_fn=_die_with_parent,
            )
            self._reader = threading.Thread(target=self._read_log, args=(self._process,), daemon=True)
            self._reader.start()
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def wait(self) -> int:
        """Blocks until Triton exits; returns its exit status."""
        return self._running().wait()

    def stop(self) -> None:
        """Stops Triton: in-flight requests get `exit_timeout_s` to finish, then everything it started is killed."""
        process, self._process = self._process, None
        try:
            if process is not None:
                process.terminate()
                self._wait_until_stopped(process)
        finally:  # also when a second signal interrupts the wait
            if process is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)  # Triton if need be, and its Python stubs
                process.wait()
                if self._reader is not None:
                    self._reader.join(5)
                for region in glob.glob(f"/dev/shm/{self.shm_prefix}*"):
                    Path(region).unlink(missing_ok=True)
            if self._run_dir is not None:
                shutil.rmtree(self._run_dir, ignore_errors=True)

    def _wait_until_stopped(self, process: subprocess.Popen[str]) -> None:
        """Requests get `exit_timeout_s`; once none is left, models get `_UNLOAD_S` to unload.

        Triton 2.51 sometimes never unloads a decoupled model that has called another; nothing is lost by not waiting.
        """
        deadline = time.monotonic() + self.settings.exit_timeout_s
        while process.poll() is None and time.monotonic() < deadline:
            if self._drained.wait(0.1):
                deadline = min(deadline, time.monotonic() + _UNLOAD_S)
                break
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, deadline - time.monotonic()))

    def _arguments(self) -> list[str]:
        s = self.settings
        arguments = [
            f"--model-repository={s.model_repository}",
            *(f"--{endpoint}-address={s.host}" for endpoint in ("grpc", "http", "metrics")),
            f"--grpc-port={s.grpc_port}",
            f"--http-port={s.http_port}",
            f"--metrics-port={s.metrics_port}",
            f"--backend-config=python,shm-region-prefix-name={self.shm_prefix}",
            f"--exit-timeout-secs={s.exit_timeout_s}",
            f"--log-verbose={s.log_verbose}",
            "--disable-auto-complete-config",  # every config.pbtxt is complete; loading each model twice is not needed
            # Audio comes in over gRPC alone: HTTP has no TLS here, so it answers health and metadata only.
            f"--http-restricted-api={','.join(_RESTRICTED)}:{TOKEN_HEADER}={secrets.token_hex(16)}",
        ]
        if s.tls_certificate:
            arguments += [
                "--grpc-use-ssl=true",
                f"--grpc-server-cert={s.tls_certificate}",
                f"--grpc-server-key={s.tls_key}",
            ]
        if s.tls_client_ca:
            arguments += ["--grpc-use-ssl-mutual=true", f"--grpc-root-cert={s.tls_client_ca}"]
        # Without a token anybody who reaches the port may scan, but nobody may administer the server.
        closed = _RESTRICTED if s.token else _ADMINISTRATION
        secret = s.token.get_secret_value() if s.token else secrets.token_hex(16)
        arguments.append(f"--grpc-restricted-protocol={','.join(closed)}:{TOKEN_HEADER}={secret}")
        return arguments

    def _read_log(self, process: subprocess.Popen[str]) -> None:
        reader = LogReader(has_gpu=os.path.exists("/dev/nvidiactl"))
        assert process.stdout is not None
        for raw in process.stdout:
            line = reader.read(raw.rstrip("\n"))
            self._tail.append(raw.rstrip("\n"))
            if line.level == "error" and not line.noise:
                self._errors.append(line.text)
            if line.drained:
                self._drained.set()
            with contextlib.suppress(OSError, ValueError):  # a closed terminal must not stop the reading
                self._on_log(line)

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + self.settings.ready_timeout_s
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # never by way of a proxy
        while time.monotonic() < deadline:
            status = self._running().poll()
            if status is not None:
                if self._reader is not None:
                    self._reader.join(5)
                said = "\n".join(self._errors or self._tail)
                raise TritonError(f"Triton stopped while loading (exit status {status}):\n{said}")
            try:
                with opener.open(f"{self.http_url}/v2/health/ready", timeout=2):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        raise TritonError(
            f"the models were not ready after {self.settings.ready_timeout_s:g} s; a first download of weights takes "
            "longer: raise AIRCHECK_READY_TIMEOUT_S"
        )

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            raise TritonError("the server is not running; call start() first")
        return self._process


def _with_ports(settings: Settings) -> Settings:
    """Port 0 stands for a free port, chosen here so that it can be told to clients."""
    with contextlib.ExitStack() as held:
        free = {}
        for name in _PORTS:
            if getattr(settings, name) == 0:
                listener = held.enter_context(socket.socket(_family(settings.host)))
                try:
                    listener.bind((settings.host, 0))
                except OSError as error:
                    raise TritonError(
                        f"cannot listen on '{settings.host}' ({error.strerror}); give an address of this machine with "
                        "--host or AIRCHECK_HOST"
                    ) from None
                free[name] = listener.getsockname()[1]
        return settings.model_copy(update=free)


def _refuse_taken_port(host: str, port: int, setting: str, use: str) -> None:
    with socket.socket(_family(host)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise TritonError(
                f"cannot listen on {host}:{port} for {use} ({error.strerror}); choose another port with "
                f"--{setting.replace('_', '-')} or AIRCHECK_{setting.upper()} (0 picks a free one)"
            ) from None


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _reachable(host: str) -> str:
    wildcard = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}
    return wildcard.get(host) or (f"[{host}]" if ":" in host else host)


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
