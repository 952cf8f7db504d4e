"""Both clients reach a server that asks for TLS and a token, and send what the schedule says."""

import asyncio
import threading

import grpc
import grpc.aio
import pytest
import trustme

from aircheck.capacity.independent import run_asyncio
from aircheck.capacity.running import Target
from aircheck.load.audio import Recordings
from aircheck.load.errors import LoadError
from aircheck.load.senders import TOKEN_VARIABLE, Senders, connect
from aircheck.load.workload import Workload
from aircheck_client.schema import Context
from aircheck_client.v1 import aircheck_pb2 as v1
from aircheck_client.v1 import aircheck_pb2_grpc
from aircheck_client.wire import to_message
from support.catalogue import record_of

TOKEN = "a token of these tests"


class Guarded(aircheck_pb2_grpc.AircheckServicer):
    """A server of ScanClip alone, behind TLS; `sizes` has what came with the token."""

    def __init__(self):
        self.sizes = []

    async def ScanClip(self, request, context):  # noqa: N802
        if dict(context.invocation_metadata()).get("authorization") != f"Bearer {TOKEN}":
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "no token")
        self.sizes.append(len(request.audio))
        return v1.ScanClipResponse(verdict=to_message(record_of(b"", Context(), ()).verdict, v1.Verdict()))


@pytest.fixture
def guarded(tmp_path):
    """(the server, its address, the file of its roots)"""
    authority, servicer = trustme.CA(), Guarded()
    authority.cert_pem.write_to_path(tmp_path / "roots.pem")
    own = authority.issue_cert("localhost")
    credentials = grpc.ssl_server_credentials(
        [(own.private_key_pem.bytes(), b"".join(pem.bytes() for pem in own.cert_chain_pems))]
    )
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def start():
        server = grpc.aio.server()
        aircheck_pb2_grpc.add_AircheckServicer_to_server(servicer, server)
        port = server.add_secure_port("localhost:0", credentials)
        await server.start()
        return server, port

    server, port = asyncio.run_coroutine_threadsafe(start(), loop).result(30)
    yield servicer, f"localhost:{port}", str(tmp_path / "roots.pem")
    asyncio.run_coroutine_threadsafe(server.stop(0), loop).result(30)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()


def test_both_clients_send_the_same_clips_with_tls_and_the_token(guarded, monkeypatch):
    servicer, url, roots = guarded
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    load = Workload(rate=20, seconds=0.5, lengths="uniform:1,3", tls=roots)
    calls = run_asyncio(Target(url), load).calls
    assert [call.error for call in calls] == [""] * 10
    by_asyncio, servicer.sizes = sorted(servicer.sizes), []
    senders = Senders(url, load, Recordings())
    for arrival in load.arrivals():
        call, fault = senders.send(arrival, 0.0)
        assert fault is None, fault
        assert call.sent_bytes == calls[arrival.index].sent_bytes
    senders.close()
    assert sorted(servicer.sizes) == by_asyncio


def test_a_missing_token_is_counted_as_what_it_is(guarded, monkeypatch):
    _, url, roots = guarded
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    load = Workload(rate=4, seconds=0.5, lengths="1", tls=roots)
    assert {call.error for call in run_asyncio(Target(url), load).calls} == {"AuthenticationError"}
    senders = Senders(url, load, Recordings())
    assert senders.send(load.arrivals()[0], 0.0)[0].error == "AuthenticationError"
    senders.close()


def test_a_token_never_crosses_a_network_in_clear(monkeypatch):
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    with pytest.raises(LoadError, match="would cross the network in clear"):
        connect("10.0.0.7:8001", Workload())
