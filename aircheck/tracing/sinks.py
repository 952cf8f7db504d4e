"""Where spans go: to a file of a folder, and to a collector."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Protocol

import httpx2
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from aircheck.gateway.log import LOG
from aircheck.tracing.names import FILES
from aircheck.tracing.otlp import to_json

_COLLECTOR_TIMEOUT_S = 5.0
_COMPLAIN_EVERY_S = 60.0


class SpanSink(Protocol):
    """Takes spans; called on several threads."""

    def write(self, request: ExportTraceServiceRequest) -> None: ...


class TraceFile:
    """JSON lines of OTLP, as OpenTelemetry's file exporter writes them, in two files that take turns.

    https://opentelemetry.io/docs/specs/otel/protocol/file-exporter/
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        """Raises OSError when the folder cannot be written."""
        self._folder, self._max_file_bytes = folder, max_bytes // len(FILES)
        self._lock = threading.Lock()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file, self._size = self._open()

    def write(self, request: ExportTraceServiceRequest) -> None:
        line = to_json(request).encode() + b"\n"
        with self._lock:
            if self._size and self._size + len(line) > self._max_file_bytes:
                os.close(self._file)
                current, before = (self._folder / name for name in FILES)
                current.replace(before)
                self._file, self._size = self._open()
            os.write(self._file, line)
            self._size += len(line)

    def close(self) -> None:
        with self._lock:
            os.close(self._file)

    def _open(self) -> tuple[int, int]:
        file = os.open(self._folder / FILES[0], os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        return file, os.fstat(file).st_size


class Collector:
    """An OpenTelemetry collector, by OTLP over HTTP. What it does not take is lost, and said once a minute."""

    def __init__(self, endpoint: str) -> None:
        self._url = f"{endpoint.rstrip('/')}/v1/traces"
        self._client = httpx2.Client(timeout=_COLLECTOR_TIMEOUT_S)
        self._complained_at_s = -_COMPLAIN_EVERY_S

    def write(self, request: ExportTraceServiceRequest) -> None:
        headers = {"Content-Type": "application/x-protobuf"}
        try:
            self._client.post(self._url, content=request.SerializeToString(), headers=headers).raise_for_status()
        except httpx2.HTTPError as error:
            if time.monotonic() - self._complained_at_s >= _COMPLAIN_EVERY_S:
                self._complained_at_s = time.monotonic()
                LOG.warning("%s took no spans (%s); they are lost", self._url, type(error).__name__)

    def close(self) -> None:
        self._client.close()
