"""A worker as a process of its own, that can be killed and started again."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType

from aircheck import hardware
from benchmarks.worker.servers import DEAD, JOBS, VERDICTS, BrokerServer

_READY_S = 180.0


class WorkerProcess:
    """`aircheck worker` between a broker and a server."""

    def __init__(self, broker: BrokerServer, server_url: str, records: Path, *options: str):
        self._command = [
            *(sys.executable, "-m", "aircheck_client.cli", "worker", "--broker", broker.url, "--url", server_url),
            *("--in", JOBS, "--out", VERDICTS, "--dead-letters", DEAD, "--records", str(records)),
            *("--metrics-port", "0", *options),
        ]
        self._process: subprocess.Popen[str] | None = None
        self._log: list[str] = []
        self._is_ready = threading.Event()
        self.base_url = ""

    def __enter__(self) -> WorkerProcess:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def log(self) -> str:
        """Standard error so far, of all starts."""
        return "".join(self._log)

    @property
    def peak_memory_mib(self) -> float:
        """The most that it has had resident."""
        assert self._process is not None
        return round(hardware.peak_memory_mib(self._process.pid), 1)

    def start(self) -> None:
        """Returns when it takes messages."""
        self._is_ready.clear()
        self._process = subprocess.Popen(self._command, stderr=subprocess.PIPE, text=True, env={**os.environ})
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()
        if not self._is_ready.wait(_READY_S) or not self.base_url:
            self.kill()
            raise RuntimeError(f"the worker does not start: {self.log}")

    def kill(self) -> None:
        """As kill -9 does."""
        self._end(signal.SIGKILL)

    def terminate(self) -> int:
        """SIGTERM; the exit code."""
        return self._end(signal.SIGTERM)

    def wait(self) -> int:
        """Until it ends by itself; the exit code."""
        return self._end(0)

    def get(self, path: str) -> tuple[int, str]:
        """The status and the body of an answer to GET."""
        try:
            with urllib.request.urlopen(self.base_url + path, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def metric(self, name: str) -> float:
        """A metric's value, with its labels as they are written; 0 where it is not there."""
        found = re.search(rf"^{re.escape(name)} (\S+)$", self.get("/metrics")[1], re.MULTILINE)
        return float(found[1]) if found else 0.0

    def _end(self, number: int) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(number)
        code = process.wait(120)
        self._reader.join()
        return code

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        for line in process.stderr:
            self._log.append(line)
            if found := re.search(r": ready; (\S+)/metrics$", line):
                self.base_url = found[1]
                self._is_ready.set()
        process.stderr.close()
        self._is_ready.set()
