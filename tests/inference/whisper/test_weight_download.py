"""Official weights are downloaded once, however many processes start at the same time; here from loopback."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from support.whisper_models import save_pt, tiny_whisper

N_PROCESSES = 2
TIMEOUT_S = 300.0
GRACE_S = 2.0  # for another process to ask for the weights too, if nothing keeps it from it

LOAD = """
import sys, urllib.request
import torch, whisper
from aircheck.inference.whisper.weights.checkpoint import load
server, path = sys.argv[1:]
whisper._MODELS["medium.en"] = server + path
whisper._ALIGNMENT_HEADS["medium.en"] = None  # those of the real shapes
urllib.request.urlopen(server + "/started").read()
loaded = load("medium.en", torch.device("cpu"), torch.float32)
print(loaded.version, float(loaded.model.encoder.conv1.weight.sum()))
"""


class WeightServer(ThreadingHTTPServer):
    """Serves one file, the first time only when all processes are under way."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.n_downloads = 0
        self.another_download = threading.Event()
        self.started = threading.Barrier(N_PROCESSES)
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: WeightServer

    def do_GET(self) -> None:
        body = b""
        if self.path == "/started":
            self.server.started.wait(TIMEOUT_S)
        else:
            body = self.server.content
            self.server.n_downloads += 1
            if self.server.n_downloads > 1:
                self.server.another_download.set()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:1000])
        if body:
            self.server.another_download.wait(GRACE_S)  # a part of the file is there, the rest is not
        self.wfile.write(body[1000:])

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serving(content: bytes) -> Iterator[WeightServer]:
    with WeightServer(content) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_of_processes_that_start_together_one_downloads_and_all_load(tmp_path: Path) -> None:
    content = save_pt(tiny_whisper(), tmp_path / "tiny.pt").read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    with serving(content) as server:
        address = f"http://127.0.0.1:{server.server_port}"
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", LOAD, address, f"/{sha256}/tiny.pt"],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for _ in range(N_PROCESSES)
        ]
        outputs = [process.communicate(timeout=TIMEOUT_S) for process in processes]
    assert [process.returncode for process in processes] == [0] * N_PROCESSES, outputs
    assert server.n_downloads == 1
    assert len({stdout for stdout, _ in outputs}) == 1
    assert outputs[0][0].startswith(sha256[:12])
