"""Takes in the spans that Triton exports: OTLP over HTTP, on loopback alone.

Triton can send them nowhere but to an HTTP address. Only spans of traces that the gateway began are taken, so that
another user of the machine, who may reach the port, can add nothing that is not already traced.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from aircheck.tracing.otlp import from_json
from aircheck.tracing.sinks import SpanSink

PATH = "/v1/traces"
MAX_BYTES = 8 * 2**20  # of one export
_TIMEOUT_S = 10.0


class OtlpReceiver:
    """An HTTP server on a free port of 127.0.0.1, on threads of its own."""

    def __init__(self, sink: SpanSink, is_known: Callable[[bytes], bool]) -> None:
        """is_known : whether a trace, by its id, is one that the gateway began"""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(sink, is_known))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="otlp-receiver", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}{PATH}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(sink: SpanSink, is_known: Callable[[bytes], bool]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = _TIMEOUT_S

        def do_POST(self) -> None:
            length = self.headers.get("Content-Length", "")
            if self.path != PATH or not length.isdigit() or int(length) > MAX_BYTES:
                self.send_error(400)
                return
            body, is_json = self.rfile.read(int(length)), self.headers.get_content_type() == "application/json"
            try:  # Triton 2.51 sends JSON
                sent = from_json(body) if is_json else ExportTraceServiceRequest.FromString(body)
            except (DecodeError, ValueError):
                self.send_error(400)
                return
            request = known(sent, is_known)
            if request.resource_spans:
                sink.write(request)
            self.send_response(200)
            self.send_header("Content-Type", "application/json" if is_json else "application/x-protobuf")
            answer = b"{}" if is_json else b""
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:
            pass  # a line for each export is of use to nobody

    return Handler


def known(request: ExportTraceServiceRequest, is_known: Callable[[bytes], bool]) -> ExportTraceServiceRequest:
    """The spans of known traces, with their resources and scopes."""
    kept = ExportTraceServiceRequest()
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            if spans := [span for span in scope.spans if is_known(span.trace_id)]:
                added = kept.resource_spans.add(resource=resource.resource)
                added.scope_spans.add(scope=scope.scope, spans=spans)
    return kept
