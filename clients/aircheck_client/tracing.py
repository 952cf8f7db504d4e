"""A call's span of the client, where the caller's process uses OpenTelemetry.

OpenTelemetry's own instrumentation of gRPC is not for this client: it hands back plain iterators for the calls that
stream, which cannot be cancelled (`opentelemetry-instrumentation-grpc` 0.66).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

Metadata = tuple[tuple[str, str], ...]


@contextmanager
def call_span(service: str, method: str) -> Iterator[Metadata]:
    """A span below the present one, for as long as the block runs; yields what tells the server of it.

    What the block raises is told by its type alone: messages may quote. Without OpenTelemetry, or while its process
    collects no spans, there is none, and the server's are below the present one.
    https://opentelemetry.io/docs/specs/semconv/rpc/grpc/
    """
    trace, propagate = (sys.modules.get(f"opentelemetry.{name}") for name in ("trace", "propagate"))
    if trace is None or propagate is None:
        yield ()
        return
    attributes = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": method}
    span = trace.get_tracer("aircheck_client").start_span(
        f"{service}/{method}", kind=trace.SpanKind.CLIENT, attributes=attributes
    )
    carrier: dict[str, str] = {}
    propagate.inject(carrier, trace.set_span_in_context(span))
    try:
        yield tuple(carrier.items())
    except Exception as error:
        span.set_status(trace.StatusCode.ERROR, type(error).__name__)
        raise
    finally:
        span.end()
