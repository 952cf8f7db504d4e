"""The HTTP endpoint for metrics and health, with a stand-in for the supervisor."""

import asyncio
import socket
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from aircheck.gateway.errors import StartError
from aircheck.gateway.metrics import MetricsEndpoint
from aircheck.gateway.supervisor import ServerState
from aircheck.settings import Settings


@dataclass
class FakeTriton:
    state: ServerState = ServerState.SERVING
    restarts: int = 2
    in_flight: int = 3

    async def metrics(self):
        return 'nv_inference_count{model="whisper"} 7\n'


@asynccontextmanager
async def endpoint(triton, **settings):
    async with MetricsEndpoint(Settings.load(metrics_port=0, **settings), triton) as running:
        yield running, int(running.url.rpartition(":")[2].split("/")[0])


async def get(port, path, method="GET"):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    writer.close()
    return int(head.split(" ")[1]), body


def test_it_gives_the_gateways_metrics_and_tritons():
    async def run():
        async with endpoint(FakeTriton()) as (_, port):
            return await get(port, "/metrics")

    status, body = asyncio.run(run())
    assert status == 200
    lines = body.splitlines()
    assert 'nv_inference_count{model="whisper"} 7' in lines
    assert "aircheck_gateway_triton_restarts_total 2.0" in lines
    assert "aircheck_gateway_windows_in_flight 3.0" in lines
    assert 'aircheck_gateway_state{state="serving"} 1.0' in lines
    assert 'aircheck_gateway_state{state="draining"} 0.0' in lines


@pytest.mark.parametrize("state", list(ServerState))
def test_ready_is_what_serves_and_alive_is_what_answers(state):
    async def run():
        async with endpoint(FakeTriton(state)) as (_, port):
            return await get(port, "/readyz"), await get(port, "/livez")

    ready, alive = asyncio.run(run())
    assert ready == (200 if state is ServerState.SERVING else 503, f"{state.value}\n")
    assert alive[0] == 200


def test_other_paths_and_methods_are_refused():
    async def run():
        async with endpoint(FakeTriton()) as (_, port):
            return (await get(port, "/v2/models"))[0], (await get(port, "/metrics", "POST"))[0]

    assert asyncio.run(run()) == (404, 405)


def test_a_client_that_sends_no_request_or_too_much_does_no_harm():
    async def run():
        async with endpoint(FakeTriton()) as (_, port):
            idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(8)]
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"x" * 100_000)
            assert await reader.read() == b""
            status, _ = await get(port, "/livez")
            for _, open_writer in idle:
                open_writer.close()
            return status

    assert asyncio.run(run()) == 200


def test_it_listens_on_loopback_whatever_the_servers_host():
    async def run():
        async with endpoint(FakeTriton(), host="0.0.0.0", behind_mesh=True) as (running, _):
            return running.url

    assert asyncio.run(run()).startswith("http://127.0.0.1:")


def test_a_taken_port_is_named_with_the_setting_that_changes_it():
    async def run(port):
        async with MetricsEndpoint(Settings.load(metrics_port=port), FakeTriton()):
            pass

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(StartError, match=f"127.0.0.1:{port} .*AIRCHECK_METRICS_PORT"):
            asyncio.run(run(port))
