"""The spans that the gateway makes, and what starts and ends tracing.

A trace begins with the caller's `traceparent` (https://www.w3.org/TR/trace-context/), or here. It goes on to Triton
with each window, whose own tracer sends its spans back to `OtlpReceiver`. While tracing is off, a span costs next to
nothing.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TypeVar

from opentelemetry import context
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import (
    INVALID_SPAN,
    NoOpTracer,
    Span,
    SpanKind,
    StatusCode,
    Tracer,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from aircheck.gateway.errors import StartError
from aircheck.settings import Settings
from aircheck.tracing.names import CALL_ID, GATEWAY, MODELS
from aircheck.tracing.receiver import OtlpReceiver
from aircheck.tracing.sinks import Collector, SpanSink, TraceFile

_EXPORT_EVERY_MS = 1000
_MAX_KNOWN = 10_000  # traces whose spans are still taken from Triton

_PROPAGATOR = TraceContextTextMapPropagator()
_Attribute = str | int | float | bool
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class _Tracing:
    tracer: Tracer
    triton_url: str  # where Triton sends its spans; empty: nowhere


_OFF = _Tracing(NoOpTracer(), "")
_now = _OFF
_known: OrderedDict[bytes, None] = OrderedDict()
_known_lock = threading.Lock()


@contextmanager
def tracing(settings: Settings) -> Iterator[None]:
    """Traces are kept or sent while the block runs, where the settings say so. Raises StartError."""
    global _now
    if settings.trace_dir is None and settings.otlp_endpoint is None:
        yield
        return
    with ExitStack() as stack:
        sinks: list[SpanSink] = []
        if settings.trace_dir is not None:
            try:
                file = TraceFile(settings.trace_dir, settings.trace_max_bytes)
            except OSError as error:
                raise StartError(f"traces cannot be kept in {settings.trace_dir} ({error.strerror})") from None
            stack.callback(file.close)
            sinks.append(file)
        if settings.otlp_endpoint is not None:
            collector = Collector(settings.otlp_endpoint)
            stack.callback(collector.close)
            sinks.append(collector)
        exporter = _Exporter(sinks)
        receiver = OtlpReceiver(exporter, _is_known)
        stack.callback(receiver.close)
        provider = TracerProvider(
            ParentBased(TraceIdRatioBased(settings.trace_ratio)),
            Resource({"service.name": GATEWAY}),
            shutdown_on_exit=False,
        )
        provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=_EXPORT_EVERY_MS))
        stack.callback(provider.shutdown)  # which sends what is left
        _now = _Tracing(provider.get_tracer("aircheck.gateway"), receiver.url)
        try:
            yield
        finally:
            _now = _OFF


@contextmanager
def call(method: str, call_id: str, metadata: Mapping[str, str | bytes]) -> Iterator[None]:
    """A call's span, below the caller's where `metadata` names one; those of its task are below it from now on."""
    carrier = {name: str(value) for name, value in metadata.items() if name in _PROPAGATOR.fields}
    attributes = {"rpc.system": "grpc", "rpc.method": method, CALL_ID: call_id}
    made = _now.tracer.start_span(method, _PROPAGATOR.extract(carrier, context.Context()), SpanKind.SERVER, attributes)
    if made.is_recording():
        _remember(made)
    context.attach(set_span_in_context(made))  # never detached: a call has a task, and so a context, of its own
    try:
        with _failing(made):
            yield
    finally:
        made.end()


@contextmanager
def span(name: str, kind: SpanKind = SpanKind.INTERNAL, **attributes: _Attribute) -> Iterator[Span]:
    """A span below the present one; none outside of a call.

    What the block raises is told by its type alone: messages may quote.
    """
    if not get_current_span().is_recording():
        yield INVALID_SPAN
        return
    with (
        _now.tracer.start_as_current_span(
            name, kind=kind, attributes=attributes, record_exception=False, set_status_on_exception=False
        ) as made,
        _failing(made),
    ):
        yield made


async def in_span(work: Callable[[], Awaitable[_Result]], name: str, **attributes: _Attribute) -> _Result:
    """What `work` returns, awaited within a span."""
    with span(name, SpanKind.INTERNAL, **attributes):
        return await work()


def past_span(name: str, begun_s: float, **attributes: _Attribute) -> None:
    """A span below the present one that began at `begun_s`, on the clock of time.monotonic, and ends now."""
    if not get_current_span().is_recording():
        return
    now_ns = time.time_ns()
    start_ns = now_ns - int((time.monotonic() - begun_s) * 1e9)
    _now.tracer.start_span(name, attributes=attributes, start_time=start_ns).end(now_ns)


def outgoing() -> tuple[tuple[str, str], ...]:
    """The present span as metadata of a call; nothing where it is not traced."""
    if not get_current_span().is_recording():
        return ()
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return tuple(carrier.items())


def triton_arguments() -> list[str]:
    """Triton's flags for its own tracer: it traces the requests that come with a trace, and no others."""
    if not _now.triton_url:
        return []
    values = (
        "mode=opentelemetry",
        "level=TIMESTAMPS",
        "rate=0",
        f"opentelemetry,url={_now.triton_url}",
        f"opentelemetry,resource=service.name={MODELS}",
        f"opentelemetry,bsp_schedule_delay={_EXPORT_EVERY_MS}",
    )
    return [f"--trace-config={value}" for value in values]


def triton_environment(own: Mapping[str, str]) -> dict[str, str]:
    """Triton's environment, in which no proxy stands between its tracer and this process."""
    if not _now.triton_url:
        return dict(own)
    direct = ",".join(filter(None, (own.get("no_proxy") or own.get("NO_PROXY"), "127.0.0.1")))
    return {**own, "no_proxy": direct, "NO_PROXY": direct}


@contextmanager
def _failing(made: Span) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        made.set_status(StatusCode.ERROR, type(error).__name__)
        raise


class _Exporter(SpanExporter):
    """All sinks as one; an exporter of the SDK, for the gateway's own spans."""

    def __init__(self, sinks: Sequence[SpanSink]) -> None:
        self._sinks = sinks

    def write(self, request: ExportTraceServiceRequest) -> None:
        for sink in self._sinks:
            sink.write(request)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.write(encode_spans(spans))
        return SpanExportResult.SUCCESS


def _remember(span: Span) -> None:
    with _known_lock:
        _known[span.get_span_context().trace_id.to_bytes(16, "big")] = None
        while len(_known) > _MAX_KNOWN:
            _known.popitem(last=False)


def _is_known(trace_id: bytes) -> bool:
    with _known_lock:
        return trace_id in _known
