"""The trace that a message belongs to, through the worker: OpenTelemetry's API alone.

Without an SDK, what came with the message goes on unchanged, to the server and with the verdict; with one, the worker's
spans are between them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import propagate, trace
from opentelemetry.trace import SpanKind

_TRACER = trace.get_tracer("aircheck_client.worker")


@contextmanager
def traced(carrier: Mapping[str, str], topic: str) -> Iterator[None]:
    """A span for the handling of a message, within the trace that its headers name."""
    context = propagate.extract(carrier)
    attributes = {"messaging.destination.name": topic, "messaging.operation.type": "process"}
    with _TRACER.start_as_current_span(f"process {topic}", context, SpanKind.CONSUMER, attributes):
        yield


def trace_headers() -> dict[str, str]:
    """The present trace, as headers of a message."""
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return carrier
