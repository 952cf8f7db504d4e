"""OTLP's JSON, which is protobuf's but for ids in hex and enumerations in numbers.

https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message import Message
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

_IDS = ("traceId", "spanId", "parentSpanId")


def to_json(request: ExportTraceServiceRequest) -> str:
    """On one line."""
    fields = MessageToDict(request, use_integers_for_enums=True)
    _with_ids(fields, lambda text: base64.b64decode(text).hex())
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))


def from_json(text: bytes) -> ExportTraceServiceRequest:
    """Raises ValueError for what is none."""
    try:
        fields = json.loads(text)
        _with_ids(fields, lambda hexadecimal: base64.b64encode(bytes.fromhex(hexadecimal)).decode())
        request: Message = ParseDict(fields, ExportTraceServiceRequest(), ignore_unknown_fields=True)
    except Exception as error:  # a stranger's bytes may be anything
        raise ValueError(f"no OTLP JSON ({type(error).__name__})") from None
    assert isinstance(request, ExportTraceServiceRequest)
    return request


def _with_ids(fields: dict[str, Any], convert: Callable[[str], str]) -> None:
    for resource in fields.get("resourceSpans", []):
        for scope in resource.get("scopeSpans", []):
            for span in scope.get("spans", []):
                span.update({name: convert(span[name]) for name in _IDS if name in span})
