"""Calls carry the trace that the caller is in, and have spans of their own, where its process uses OpenTelemetry."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import pytest
from opentelemetry import context, propagate, trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from aircheck_client import AircheckClient, AsyncAircheckClient, InvalidAudioError
from aircheck_client.v1 import aircheck_pb2 as v1
from aircheck_client.v1 import aircheck_pb2_grpc

TRACEPARENTS = [f"00-{number:032x}-00f067aa0ba902b7-01" for number in (1, 2)]


class Listening(aircheck_pb2_grpc.AircheckServicer):
    """Notes the trace of each call."""

    def __init__(self) -> None:
        self.traces: list[str | None] = []

    def GetServerInfo(self, request, context):  # noqa: N802  # the contract's name
        self.traces.append(dict(context.invocation_metadata()).get("traceparent"))
        return v1.GetServerInfoResponse(limits=v1.ServerLimits())

    def Scan(self, requests, context):  # noqa: N802  # the contract's name
        self.traces.append(dict(context.invocation_metadata()).get("traceparent"))
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no audio")


@pytest.fixture
def listening():
    servicer = Listening()
    server = grpc.server(ThreadPoolExecutor(1))
    aircheck_pb2_grpc.add_AircheckServicer_to_server(servicer, server)
    servicer.url = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield servicer
    server.stop(None).wait()


@contextmanager
def within(traceparent):
    token = context.attach(propagate.extract({"traceparent": traceparent}))
    yield
    context.detach(token)


def test_each_call_belongs_to_the_trace_that_it_is_made_in(listening):
    with AircheckClient(listening.url) as client:
        for traceparent in TRACEPARENTS:
            with within(traceparent):
                client.info()
        client.info()
    assert listening.traces == [*TRACEPARENTS, None]


def test_so_do_calls_at_a_time_in_one_event_loop(listening):
    async def call(client, traceparent):
        with within(traceparent):
            await client.info()

    async def calls():
        async with AsyncAircheckClient(listening.url) as client:
            await asyncio.gather(*(call(client, traceparent) for traceparent in TRACEPARENTS))
            await client.info()

    asyncio.run(calls())
    assert sorted(listening.traces[:2]) == TRACEPARENTS
    assert listening.traces[2] is None


@pytest.fixture
def spans(monkeypatch):
    """Those that the process has ended, of a provider that only this test sees."""
    kept = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    yield kept.get_finished_spans
    provider.shutdown()


def check(answered, refused, traces):
    """Both spans are the caller's child, and the server was told of them and not of their parent."""
    assert [answered.name, refused.name] == ["aircheck.v1.Aircheck/GetServerInfo", "aircheck.v1.Aircheck/Scan"]
    assert answered.kind is refused.kind is trace.SpanKind.CLIENT
    assert answered.status.is_unset
    assert (refused.status.status_code, refused.status.description) == (trace.StatusCode.ERROR, "InvalidAudioError")
    told = [f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}" for span in (answered, refused)]
    assert [traceparent[:52] for traceparent in traces] == told
    for span in (answered, refused):
        assert f"00-{span.parent.trace_id:032x}-{span.parent.span_id:016x}-01" == TRACEPARENTS[0]


def test_a_call_has_a_span_and_the_servers_are_below_it(listening, spans):
    with AircheckClient(listening.url) as client, within(TRACEPARENTS[0]):
        client.info()
        with pytest.raises(InvalidAudioError):
            client.scan(b"noise")
    check(*spans(), listening.traces)


def test_so_has_a_call_in_an_event_loop(listening, spans):
    async def calls():
        async with AsyncAircheckClient(listening.url) as client:
            with within(TRACEPARENTS[0]):
                await client.info()
                with pytest.raises(InvalidAudioError):
                    await client.scan(b"noise")

    asyncio.run(calls())
    check(*spans(), listening.traces)
