"""The same load by a second client that shares no code with Locust's: plain asyncio on the generated stubs.

It has its own clock, its own connection and its own reading of the answers. Only the schedule is the same (which clip
is due when), so that the two can be compared at the same load.
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import grpc
import grpc.aio

from aircheck.capacity.errors import CapacityError
from aircheck.capacity.running import Measured, Target, Watch
from aircheck.load.audio import Recordings
from aircheck.load.calls import Call
from aircheck.load.senders import TOKEN_VARIABLE
from aircheck.load.workload import Arrival, Kind, Workload
from aircheck_client.connection import is_loopback
from aircheck_client.v1 import aircheck_pb2 as v1
from aircheck_client.v1 import aircheck_pb2_grpc

_LEAD_S = 0.5
_MAX_BYTES = 256 * 2**20


def run_asyncio(target: Target, workload: Workload) -> Measured:
    """The load: clips alone, in an open loop. Raises CapacityError for any other."""
    if workload.loop != "open" or set(workload.weights) != {Kind.CLIP}:
        raise CapacityError("the independent client sends clips in an open loop alone")
    if not (is_loopback(target.url) or target.allow_host == target.url.rsplit(":", 1)[0]):
        raise CapacityError(f"{target.url} is not this machine; if it may be loaded, say so by --allow-host")
    if os.environ.get(TOKEN_VARIABLE) and not workload.tls and not is_loopback(target.url):
        raise CapacityError(f"the token would cross the network to {target.url} in clear; give --tls")
    arrivals = workload.arrivals()
    with Watch(target) as watch:
        calls = asyncio.run(_run(target.url, workload, arrivals, Recordings(workload.audio)))
    return Measured("asyncio", tuple(calls), watch.readings, watch.cpu_use, watch.gpu_use, watch.cpu_s)


async def _run(url: str, workload: Workload, arrivals: tuple[Arrival, ...], recordings: Recordings) -> list[Call]:
    token = os.environ.get(TOKEN_VARIABLE)
    metadata = (("authorization", f"Bearer {token}"),) if token else ()
    async with _channel(url, workload.tls) as channel:
        await asyncio.wait_for(channel.channel_ready(), 30)
        stub = aircheck_pb2_grpc.AircheckStub(channel)
        began_s = time.perf_counter() + _LEAD_S

        async def call(arrival: Arrival) -> Call:
            audio = recordings.wave(arrival.index, arrival.audio_s)
            started_s, error, received = time.perf_counter() - began_s, "", 0
            try:
                answer = await stub.ScanClip(
                    v1.ScanClipRequest(audio=audio), timeout=workload.timeout_s, metadata=metadata
                )
                received = answer.ByteSize()
            except grpc.aio.AioRpcError as fault:
                error = _NAMES.get(fault.code(), "ServerError")
            ended_s = time.perf_counter() - began_s
            return Call(
                arrival.index, arrival.kind, arrival.at_s, started_s, ended_s, arrival.audio_s, len(audio), received,
                error=error,
            )  # fmt: skip

        async with asyncio.TaskGroup() as group:
            tasks = []
            for arrival in arrivals:
                await asyncio.sleep(max(0.0, began_s + arrival.at_s - time.perf_counter()))
                tasks.append(group.create_task(call(arrival)))
        return [task.result() for task in tasks]


def _channel(url: str, tls: str) -> grpc.aio.Channel:
    options = (
        ("grpc.max_send_message_length", _MAX_BYTES),
        ("grpc.max_receive_message_length", _MAX_BYTES),
        ("grpc.enable_http_proxy", 0),
    )
    if not tls:
        return grpc.aio.insecure_channel(url, options)
    roots = None if tls == "system" else Path(tls).read_bytes()
    return grpc.aio.secure_channel(url, grpc.ssl_channel_credentials(roots), options)


_NAMES = {  # as aircheck_client names them, so that the counts can be compared
    grpc.StatusCode.RESOURCE_EXHAUSTED: "OverloadedError",
    grpc.StatusCode.UNAVAILABLE: "UnavailableError",
    grpc.StatusCode.DEADLINE_EXCEEDED: "DeadlineError",
    grpc.StatusCode.INVALID_ARGUMENT: "InvalidAudioError",
    grpc.StatusCode.UNAUTHENTICATED: "AuthenticationError",
}
