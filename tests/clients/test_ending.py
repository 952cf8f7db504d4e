"""A server that ends an upload early: the client learns why, whatever was being sent at that moment."""

import asyncio
from collections import Counter

import grpc
import grpc.aio

from aircheck_client import AircheckError, AsyncAircheckClient, InvalidAudioError, Retry
from aircheck_client.v1 import aircheck_pb2 as v1
from aircheck_client.v1 import aircheck_pb2_grpc


class Strict(aircheck_pb2_grpc.AircheckServicer):
    """Refuses each upload at its second chunk."""

    async def Scan(self, requests, context):  # noqa: N802
        yield v1.ScanEvent(accepted=v1.Accepted(scan_id="1"))
        n = 0
        async for _ in requests:
            n += 1
            if n == 3:
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no audio packets")


def test_the_servers_reason_is_never_lost():
    async def run():
        server = grpc.aio.server()
        aircheck_pb2_grpc.add_AircheckServicer_to_server(Strict(), server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        found = Counter()
        async with AsyncAircheckClient(f"127.0.0.1:{port}", retry=Retry(attempts=1)) as client:

            async def scan():
                try:
                    await client.scan(bytes(5_000_000))
                except AircheckError as error:
                    found[type(error), str(error)] += 1

            for _ in range(20):
                await asyncio.gather(*(scan() for _ in range(10)))
        await server.stop(None)
        return found

    assert asyncio.run(run()) == {(InvalidAudioError, "no audio packets"): 200}
