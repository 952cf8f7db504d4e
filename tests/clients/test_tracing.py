"""Calls carry the trace that the caller is in, where its process uses OpenTelemetry."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import pytest
from opentelemetry import context, propagate

from aircheck_client import AircheckClient, AsyncAircheckClient
from aircheck_client.v1 import aircheck_pb2 as v1
from aircheck_client.v1 import aircheck_pb2_grpc

TRACEPARENTS = [f"00-{number:032x}-00f067aa0ba902b7-01" for number in (1, 2)]


class Listening(aircheck_pb2_grpc.AircheckServicer):
    """Notes the trace of each call."""

    def __init__(self) -> None:
        self.traces: list[str | None] = []

    def GetServerInfo(self, request, context):  # noqa: N802
        self.traces.append(dict(context.invocation_metadata()).get("traceparent"))
        return v1.GetServerInfoResponse(limits=v1.ServerLimits())


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
