"""The clients without a server, and what they need."""

from __future__ import annotations

import asyncio
import io
import json
import socket
import subprocess
import sys

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from aircheck_client import (
    AircheckClient,
    AsyncAircheckClient,
    InvalidAudioError,
    OverloadedError,
    Retry,
    Tls,
    UnavailableError,
)
from aircheck_client.connection import Connection
from aircheck_client.errors import from_rpc, from_status

QUICK = Retry(attempts=2, first_wait_s=0.01)


@pytest.fixture
def nobody():
    """An address of this machine where nothing listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{listener.getsockname()[1]}"


def test_an_absent_server_is_named(nobody):
    with AircheckClient(nobody, retry=QUICK) as client:
        assert not client.ready()
        for call in (client.scan_clip, client.scan):
            with pytest.raises(UnavailableError, match=f"no server answers at {nobody}.*is it running"):
                call(b"audio")


def test_an_absent_server_is_named_to_asyncio_too(nobody):
    async def call() -> None:
        async with AsyncAircheckClient(nobody, retry=QUICK) as client:
            assert not await client.ready()
            with pytest.raises(UnavailableError, match=f"no server answers at {nobody}"):
                await client.scan(b"audio")
            with pytest.raises(UnavailableError, match=f"no server answers at {nobody}"):
                await client.scan_clip(b"audio")

    asyncio.run(call())


@pytest.mark.parametrize(
    ("code", "details", "kind", "words"),
    [
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "200 windows wait", OverloadedError, "takes no more work at present"),
        (grpc.StatusCode.UNAVAILABLE, "the server is about to stop", UnavailableError, "cannot answer at present"),
        (
            grpc.StatusCode.UNAVAILABLE,
            "failed to connect to all addresses; last error: Connection refused",
            UnavailableError,
            "is it running",
        ),
    ],
)
def test_an_overloaded_server_is_not_called_absent(code, details, kind, words):
    error = from_status(code, details, "127.0.0.1:8001", "episode.mp3")
    assert type(error) is kind
    assert words in str(error)
    assert details in str(error)


@pytest.mark.parametrize(
    "details", ["Deadline Exceeded", "<RPC that ended with: status = StatusCode.DEADLINE_EXCEEDED>"]
)
def test_a_deadline_that_grpc_itself_ends_is_put_in_our_words(details):
    error = from_status(grpc.StatusCode.DEADLINE_EXCEEDED, details, "127.0.0.1:8001")
    assert str(error) == "127.0.0.1:8001 did not answer in time; give a longer timeout or look at the server's load"


class Refusal(grpc.RpcError):
    """A call's end as gRPC gives it."""

    def code(self):
        return grpc.StatusCode.RESOURCE_EXHAUSTED

    def details(self):
        return "full"

    def trailing_metadata(self):
        detail = AnyMessage()
        detail.Pack(RetryInfo(retry_delay=Duration(seconds=3, nanos=500_000_000)))
        return (("grpc-status-details-bin", Status(details=[detail]).SerializeToString()),)


def test_when_to_come_again_is_read():
    assert from_rpc(Refusal(), "x").retry_after_s == 3.5


def test_retries_are_grpcs_own_and_heed_overload():
    policy = json.loads(Retry(attempts=3, first_wait_s=0.5).service_config())["methodConfig"][0]["retryPolicy"]
    assert (policy["maxAttempts"], policy["initialBackoff"]) == (3, "0.5s")
    assert policy["retryableStatusCodes"] == ["UNAVAILABLE", "RESOURCE_EXHAUSTED"]
    assert "retryPolicy" not in json.loads(Retry(attempts=1).service_config())["methodConfig"][0]


def test_several_servers_are_addressed_at_once():
    assert Connection.of("127.0.0.1:1, 127.0.0.1:2", False, None, None).target == "ipv4:127.0.0.1:1,127.0.0.1:2"
    assert Connection.of(["localhost:1"], False, None, None).target == "localhost:1"
    with pytest.raises(ValueError, match="HOST:PORT"):
        Connection.of(" , ", False, None, None)


@pytest.mark.parametrize("url", ["10.0.0.7:8001", "aircheck.example:8001", "localhost:1,10.0.0.7:8001"])
def test_a_token_does_not_cross_a_network_in_clear(url):
    with pytest.raises(ValueError, match="in clear"):
        AircheckClient(url, token="secret")
    AircheckClient("localhost:8001", token="secret").close()


def test_a_file_that_cannot_be_read_is_named(tmp_path, nobody):
    missing = tmp_path / "episode.mp3"
    with AircheckClient(nobody) as client:
        for call in (client.scan, client.scan_clip):
            with pytest.raises(InvalidAudioError, match=r"episode\.mp3: cannot be read: No such file"):
                call(missing)
        missing.touch()
        for call in (client.scan, client.scan_clip):
            with pytest.raises(InvalidAudioError, match=r"episode\.mp3: the audio has 0 bytes"):
                call(missing)


class Torn(io.RawIOBase):
    """A file whose disk fails."""

    name = "torn.wav"

    def readable(self):
        return True

    def read(self, size=-1):
        raise OSError(5, "Input/output error")


def test_a_disk_that_fails_is_the_files_fault(nobody):
    with AircheckClient(nobody) as client, pytest.raises(InvalidAudioError, match=r"torn\.wav: .*Input/output error"):
        client.scan(Torn())


def test_a_certificate_that_is_not_there_is_an_error_at_once(tmp_path):
    with pytest.raises(FileNotFoundError):
        AircheckClient("127.0.0.1:1", tls=Tls(ca=tmp_path / "none.pem"))


def test_the_client_pulls_in_no_torch_and_help_no_grpc():
    """`aircheck --help` must be quick, and a client's machine need not carry the server's packages."""
    check = (
        "import sys; import aircheck_client, aircheck_client.aio, aircheck_client.command, aircheck_client.render; "
        "sys.exit(any(name in sys.modules for name in ('torch', 'transformers', 'nvidia', 'aircheck', 'numpy')))"
    )
    assert subprocess.run([sys.executable, "-c", check]).returncode == 0
    check = (
        "import sys; sys.argv = ['aircheck', '--help']; import aircheck_client.cli as cli\n"
        "try: cli.main()\n"
        "except SystemExit: pass\n"
        "sys.exit(any(name in sys.modules for name in ('torch', 'grpc', 'tritonclient', 'pydantic', 'numpy')))"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(command in done.stdout for command in ("scan", "listen", "serve", "demo", "token"))


def test_an_option_that_a_call_would_ignore_is_refused(nobody):
    with AircheckClient(nobody) as client:
        for option in ({"scores": True}, {"transcript": False}, {"windows": False}):
            with pytest.raises(ValueError, match=f"{next(iter(option))}: is an option of scan and stream alone"):
                client.scan_clip(b"audio", **option)
        with pytest.raises(ValueError, match="priority: is an option"):
            next(client.listen([b"audio"], priority="bulk"))
        with pytest.raises(ValueError, match="priority: 'high' is none of interactive, normal, bulk"):
            client.scan(b"audio", priority="high")
