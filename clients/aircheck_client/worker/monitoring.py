"""The worker's metrics and health over HTTP: GET /metrics, /livez and /readyz, without TLS or token."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CONTENT_TYPE_LATEST, Counter, Gauge, Histogram, generate_latest

_BUCKETS_S = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000)

MESSAGES = Counter(
    "aircheck_worker_messages", "Messages answered: scanned, stored (heard before), dead_letter.", ["outcome"]
)
DEAD_LETTERS = Counter("aircheck_worker_dead_letters", "Dead letters, by reason.", ["reason"])
RETRIES = Counter("aircheck_worker_retries", "Tries that failed and were followed by another, by reason.", ["reason"])
REDELIVERIES = Counter("aircheck_worker_redeliveries", "Messages that had been delivered before, to whomever.")
IN_FLIGHT = Gauge("aircheck_worker_in_flight", "Messages that are being answered.")
LEFT = Counter("aircheck_worker_left", "Messages left unacknowledged, for another worker or a later delivery.")
SECONDS = Histogram("aircheck_worker_seconds", "From a message's arrival to its published answer.", buckets=_BUCKETS_S)
AUDIO_SECONDS = Counter("aircheck_worker_audio_seconds", "Audio that was scanned; not what had been heard before.")


@dataclass
class Readiness:
    """What /readyz goes by: whether broker and server answered when they were last asked, and whether we take more."""

    broker: bool = False
    server: bool = False
    draining: bool = False

    @property
    def words(self) -> str:
        """`ready`, or what is missing."""
        if self.draining:
            return "draining"
        missing = [name for name, is_there in (("broker", self.broker), ("server", self.server)) if not is_there]
        return f"no {' and no '.join(missing)}" if missing else "ready"


@contextmanager
def endpoint(host: str, port: int, readiness: Readiness) -> Iterator[str]:
    """Serves while the block runs; gives the base URL. Raises OSError when the address cannot be had."""

    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:  # a name of http.server's
            plain = "text/plain; charset=utf-8"
            match self.path.partition("?")[0]:
                case "/metrics":
                    self._send(HTTPStatus.OK, CONTENT_TYPE_LATEST, generate_latest())
                case "/livez":
                    self._send(HTTPStatus.OK, plain, b"alive\n")
                case "/readyz":
                    words = readiness.words
                    status = HTTPStatus.OK if words == "ready" else HTTPStatus.SERVICE_UNAVAILABLE
                    self._send(status, plain, f"{words}\n".encode())
                case _:
                    self._send(HTTPStatus.NOT_FOUND, plain, b"/metrics, /livez, /readyz\n")

        def _send(self, status: HTTPStatus, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer((host, port), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
        thread.start()
        try:
            yield f"http://{host}:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
