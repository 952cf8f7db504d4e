"""A server of `aircheck.v1` without models: it answers each audio as the audio's own first word says.

ok …       a verdict
invalid …  INVALID_ARGUMENT
busy2 …    RESOURCE_EXHAUSTED twice, then a verdict
crash9 …   INTERNAL nine times, then a verdict
slow …     a verdict after a second
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections import Counter

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from aircheck_client.connection import SERVICE
from aircheck_client.schema import Context
from aircheck_client.v1 import aircheck_pb2 as v1
from aircheck_client.v1 import aircheck_pb2_grpc
from aircheck_client.wire import from_message, to_message
from support.catalogue import MODELS, record_of

SLOW_S = 1.0
_FAULTS = {
    "invalid": grpc.StatusCode.INVALID_ARGUMENT,
    "busy": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "crash": grpc.StatusCode.INTERNAL,
    "away": grpc.StatusCode.UNAVAILABLE,
}


class ScriptedServer(aircheck_pb2_grpc.AircheckServicer):
    """Listens on a free port of 127.0.0.1 for as long as the block runs, on a thread of its own."""

    def __init__(self) -> None:
        self.heard: Counter[bytes] = Counter()
        """How often each audio was sent whole."""
        self.most_at_once = self._at_once = 0
        self.models = MODELS
        self.room = 1000  # scans at a time; more are refused
        self.refusals = 0
        self.decided = 0

    def __enter__(self) -> ScriptedServer:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.port = self._run(self._start())
        return self

    def is_well(self, is_well: bool) -> None:
        """What it says of itself."""
        self._run(self._set_well(is_well))

    async def _set_well(self, is_well: bool) -> None:
        status = health_pb2.HealthCheckResponse.SERVING if is_well else health_pb2.HealthCheckResponse.NOT_SERVING
        await self._health.set(SERVICE, status)

    def stop(self) -> None:
        self._run(self._server.stop(0))

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    @property
    def url(self) -> str:
        return f"127.0.0.1:{self.port}"

    def _run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    async def _start(self) -> int:
        self._server = grpc.aio.server()
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        await self._set_well(True)
        aircheck_pb2_grpc.add_AircheckServicer_to_server(self, self._server)
        port = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()
        return port

    async def GetServerInfo(self, request, context):  # noqa: N802
        return v1.GetServerInfoResponse(
            server_version="1",
            models=[to_message(model, v1.ModelVersion()) for model in self.models],
            policy_packs=[v1.PolicyPack(name="default", version="3", sha256="ab" * 32)],
            limits=v1.ServerLimits(max_recording_s=1e6, max_recording_bytes=10_000, max_parallel_scans=4),
        )

    async def Scan(self, requests, context):  # noqa: N802
        if self._at_once >= self.room:
            self.refusals += 1
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "full")
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            start = (await anext(requests)).start
            yield v1.ScanEvent(accepted=v1.Accepted(scan_id="1"))
            audio = b"".join([request.chunk async for request in requests])
            self.heard[audio] += 1
            word, times = re.match(rb"([a-z]+)(\d*)", audio).groups()
            status = _FAULTS.get(word.decode())
            if status and self.heard[audio] <= int(times or 1_000_000):
                await context.abort(status, "as it was told")
            await asyncio.sleep(SLOW_S if word == b"slow" else 0.01)
            record = record_of(audio, from_message(start.context, Context), self.models)
            yield v1.ScanEvent(findings=to_message(record.windows[0], v1.WindowFindings()))
            yield v1.ScanEvent(episode=to_message(record.verdict, v1.Verdict()))
        finally:
            self._at_once -= 1

    async def Decide(self, request, context):  # noqa: N802
        self.decided += 1
        verdict = record_of(b"", from_message(request.context, Context), self.models).verdict
        return v1.DecideResponse(verdict=to_message(verdict, v1.Verdict()))
