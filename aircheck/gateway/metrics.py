"""Metrics and health over HTTP: the gateway's own metrics with Triton's, /livez and /readyz.

Counters of other modules are plain prometheus_client metrics of the default registry, and appear here by themselves.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from http import HTTPStatus
from types import TracebackType

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from aircheck.gateway.errors import StartError
from aircheck.gateway.model_metrics import model_metrics
from aircheck.gateway.supervisor import ServerState, Supervisor
from aircheck.settings import Settings

_TIMEOUT_S = 10.0  # for a whole request
_MAX_CONNECTIONS = 32  # beside one another; more are closed
_MAX_HEAD = 8 * 2**10  # bytes


class MetricsEndpoint:
    """An HTTP server for GET /metrics, /livez and /readyz, on `metrics_host` alone."""

    def __init__(self, settings: Settings, triton: Supervisor):
        self._host, self._port, self._triton = settings.metrics_host, settings.metrics_port, triton
        self._collector = _TritonCollector(triton)
        self._connections = 0

    @property
    def url(self) -> str:
        """Of the metrics."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}/metrics"

    async def __aenter__(self) -> MetricsEndpoint:
        """Raises StartError when the port is taken."""
        try:
            self._server = await asyncio.start_server(self._serve, self._host, self._port, limit=_MAX_HEAD)
        except OSError as error:
            raise StartError(
                f"cannot listen on {self._host}:{self._port} for metrics ({error.strerror}); choose another port with "
                "--metrics-port or AIRCHECK_METRICS_PORT (0 picks a free one), or another AIRCHECK_METRICS_HOST"
            ) from None
        self._port = self._server.sockets[0].getsockname()[1]
        REGISTRY.register(self._collector)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        REGISTRY.unregister(self._collector)
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        try:
            if self._connections <= _MAX_CONNECTIONS:
                async with asyncio.timeout(_TIMEOUT_S):
                    await self._answer(reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # a client that is slow, gone or no client of HTTP
        finally:
            self._connections -= 1
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        method, path, *_ = [*head.split(b"\r\n", 1)[0].split(b" "), b"", b""]
        status, kind, body = await self._content(method, path.partition(b"?")[0])
        lines = (
            f"HTTP/1.1 {status.value} {status.phrase}",
            f"Content-Type: {kind}",
            f"Content-Length: {len(body)}",
            "Connection: close",
        )
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + (b"" if method == b"HEAD" else body))
        await writer.drain()

    async def _content(self, method: bytes, path: bytes) -> tuple[HTTPStatus, str, bytes]:
        plain = "text/plain; charset=utf-8"
        if method not in (b"GET", b"HEAD"):
            return HTTPStatus.METHOD_NOT_ALLOWED, plain, b"GET only\n"
        if path == b"/metrics":
            return HTTPStatus.OK, CONTENT_TYPE_LATEST, await self._metrics()
        if path == b"/livez":
            return HTTPStatus.OK, plain, b"alive\n"
        if path == b"/readyz":
            state = self._triton.state
            status = HTTPStatus.OK if state is ServerState.SERVING else HTTPStatus.SERVICE_UNAVAILABLE
            return status, plain, f"{state.value}\n".encode()
        return HTTPStatus.NOT_FOUND, plain, b"/metrics, /livez, /readyz\n"

    async def _metrics(self) -> bytes:
        """The gateway's, Triton's as they are, and Triton's by our names."""
        triton = await self._triton.metrics()
        models = CollectorRegistry()
        models.register(_Collected(model_metrics(triton)))
        return generate_latest(REGISTRY) + generate_latest(models) + triton.encode()


class _Collected(Collector):
    """Metrics that are there already."""

    def __init__(self, metrics: list[Metric]):
        self._metrics = metrics

    def collect(self) -> list[Metric]:
        return self._metrics


class _TritonCollector(Collector):
    """What the supervisor knows, read when it is asked for."""

    def __init__(self, triton: Supervisor):
        self._triton = triton

    def collect(self) -> Iterator[Metric]:
        states = GaugeMetricFamily(
            "aircheck_gateway_state", "1 for the state that the server is in, else 0.", labels=["state"]
        )
        for state in ServerState:
            states.add_metric([state.value], float(state is self._triton.state))
        yield states
        yield CounterMetricFamily(
            "aircheck_gateway_triton_restarts", "Starts of Triton beside the first.", value=self._triton.restarts
        )
        yield GaugeMetricFamily(
            "aircheck_gateway_windows_in_flight", "Windows that wait for the models.", value=self._triton.in_flight
        )
