"""Faults to gRPC statuses, with google.rpc details: https://google.aip.dev/193."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NoReturn

import grpc
import grpc.aio
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from pydantic import ValidationError

from aircheck.gateway.counters import CALLS
from aircheck.gateway.decoding.errors import DecoderLostError, SpoolFullError
from aircheck.gateway.errors import AccessError, BusyError, DrainingError, OverloadedError, StalledError, WindowError
from aircheck.gateway.log import LOG
from aircheck.policy.errors import PolicyError, RequestError
from preprocessing.errors import AudioError

LONGEST_MESSAGE = 1000  # bytes of UTF-8: they travel in trailers, up to thrice as long, of which a client takes 8 kB
_RETRY_AFTER_S = 2.0
_DETAILS = "grpc-status-details-bin"
_CUT = "…".encode()
_PUSHBACK = "grpc-retry-pushback-ms"  # heeded by gRPC's own retries: grpc/proposal, A6

_CODES: tuple[tuple[type[Exception], grpc.StatusCode], ...] = (
    (AudioError, grpc.StatusCode.INVALID_ARGUMENT),
    (RequestError, grpc.StatusCode.INVALID_ARGUMENT),
    (AccessError, grpc.StatusCode.UNAUTHENTICATED),
    (OverloadedError, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (SpoolFullError, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (DecoderLostError, grpc.StatusCode.INTERNAL),
    (BusyError, grpc.StatusCode.UNAVAILABLE),
    (DrainingError, grpc.StatusCode.UNAVAILABLE),
    (StalledError, grpc.StatusCode.DEADLINE_EXCEEDED),
    (TimeoutError, grpc.StatusCode.DEADLINE_EXCEEDED),
    (WindowError, grpc.StatusCode.INTERNAL),
    (PolicyError, grpc.StatusCode.INTERNAL),
)


@asynccontextmanager
async def statuses(context: grpc.aio.ServicerContext, method: str) -> AsyncIterator[None]:
    """Ends the call with the status of what the block raises, and counts it."""
    try:
        yield
        CALLS.labels(method, grpc.StatusCode.OK.name).inc()
    except (asyncio.CancelledError, GeneratorExit):
        CALLS.labels(method, grpc.StatusCode.CANCELLED.name).inc()
        raise
    except Exception as fault:
        code = next((code for kind, code in _CODES if isinstance(fault, kind)), grpc.StatusCode.INTERNAL)
        if code is grpc.StatusCode.INTERNAL:
            LOG.exception("failed")
        else:
            LOG.info("refused: %s: %s", code.name, type(fault).__name__)
        CALLS.labels(method, code.name).inc()
        await abort(context, code, message(fault), retry_after_s(fault, code))


def message(fault: Exception) -> str:
    """What the caller is told; never more than LONGEST_MESSAGE."""
    text = str(fault) + "".join(f" ({note})" for note in getattr(fault, "__notes__", ()))
    if not any(isinstance(fault, kind) for kind, _ in _CODES):
        text = f"the server failed ({type(fault).__name__}); its log says more"
    encoded = text.encode(errors="replace")
    if len(encoded) > LONGEST_MESSAGE:
        encoded = encoded[: LONGEST_MESSAGE - len(_CUT)]
        return encoded.decode(errors="ignore") + _CUT.decode()
    return encoded.decode()


def retry_after_s(fault: Exception, code: grpc.StatusCode) -> float | None:
    if isinstance(fault, OverloadedError):
        return fault.retry_after_s
    return _RETRY_AFTER_S if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED) else None


async def abort(
    context: grpc.aio.ServicerContext, code: grpc.StatusCode, text: str, retry_s: float | None = None
) -> NoReturn:
    """Ends the call."""
    trailing: list[tuple[str, str | bytes]] = []
    if retry_s is not None:
        trailing.append((_PUSHBACK, str(int(retry_s * 1000))))
        detail = AnyMessage()
        whole_s = int(retry_s)
        detail.Pack(RetryInfo(retry_delay=Duration(seconds=whole_s, nanos=int((retry_s - whole_s) * 1e9))))
        status = Status(code=code.value[0], message=text, details=[detail])
        trailing.append((_DETAILS, status.SerializeToString()))
    await context.abort(code, text, tuple(trailing))
    raise AssertionError("unreachable: abort raises")


def field_fault(error: ValidationError, where: str) -> RequestError:
    """Names the field that a model refused, without what the caller sent but for a few characters."""
    fault = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in (where, *fault["loc"]))
    return RequestError(f"{field}: {fault['msg']}, got {fault['input']!r:.80}")
