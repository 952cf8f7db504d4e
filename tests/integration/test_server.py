"""The server as a process: starting, refusing to start, its doors, stopping, and being killed."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import trustme

from aircheck.gateway.access import new_token
from aircheck.server import Server, StartError
from aircheck.settings import Settings
from aircheck_client import (
    AircheckClient,
    AircheckError,
    AuthenticationError,
    OverloadedError,
    Retry,
    Tls,
    UnavailableError,
)
from support.audio import silent_mp3, tone, wav
from support.triton import FREE_PORTS

ONCE = Retry(attempts=1)


def test_a_taken_port_is_named_with_the_setting_that_changes_it():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        settings = Settings.load(**FREE_PORTS | {"grpc_port": port})
        with pytest.raises(StartError, match=rf"127\.0\.0\.1:{port} for gRPC.*--grpc-port or AIRCHECK_GRPC_PORT"):
            Server(settings).start()


def test_a_pack_with_a_fault_is_reported_in_its_own_words(tmp_path):
    (tmp_path / "default.yaml").write_text("name: default\nversion: '1'\nlevells: []\n")
    with pytest.raises(StartError, match="levells"):
        Server(Settings.load(policy_dir=tmp_path, **FREE_PORTS)).start()


def test_a_triton_that_is_not_there_is_named(tmp_path):
    with pytest.raises(StartError, match="AIRCHECK_TRITON"):
        Server(Settings.load(triton=tmp_path / "tritonserver", **FREE_PORTS)).start()


@pytest.fixture(scope="module")
def doors(tmp_path_factory):
    """A server with TLS, client certificates and tokens, and what it takes to get in."""
    folder = tmp_path_factory.mktemp("doors")
    authority = trustme.CA()
    issued, shown = authority.issue_cert("127.0.0.1"), authority.issue_cert("worker@example.org")
    paths = {name: folder / name for name in ("roots", "server", "server_key", "client", "client_key", "tokens")}
    authority.cert_pem.write_to_path(paths["roots"])
    for certificate, name in ((issued, "server"), (shown, "client")):
        certificate.cert_chain_pems[0].write_to_path(paths[name])
        certificate.private_key_pem.write_to_path(paths[f"{name}_key"])
    (token, sha256), (slow, slow_sha256) = new_token(), new_token()
    paths["tokens"].write_text(
        f"tokens:\n  - {{name: ingestion, sha256: {sha256}}}\n"
        f"  - {{name: slow, sha256: {slow_sha256}, calls_per_minute: 1}}\n"
    )
    settings = Settings.load(
        tls_certificate=paths["server"],
        tls_key=paths["server_key"],
        tls_client_ca=paths["roots"],
        tokens_file=paths["tokens"],
        **FREE_PORTS,
    )
    with Server(settings) as server:
        tls = Tls(paths["roots"], paths["client"], paths["client_key"])
        yield server, tls, token, slow


def test_who_shows_certificate_and_token_comes_in(doors):
    server, tls, token, _ = doors
    with AircheckClient(server.url, tls=tls, token=token, retry=ONCE) as client:
        assert client.ready()
        assert client.scan_clip(wav(tone(1.0))).action == "allow"
        assert {pack.name for pack in client.info().policy_packs} == {"default", "strict"}


@pytest.mark.parametrize("token", [None, "shut-sesame"])
def test_a_wrong_token_is_refused_for_every_call(doors, token):
    server, tls, _, _ = doors
    with AircheckClient(server.url, tls=tls, token=token, retry=ONCE) as client:
        for call in (client.info, lambda: client.scan_clip(b"RIFF"), lambda: client.scan(b"RIFF")):
            with pytest.raises(AuthenticationError, match="token"):
                call()


def test_who_shows_no_certificate_or_trusts_none_does_not_get_through(doors):
    server, tls, token, _ = doors
    for other in (Tls(tls.ca), True, False):
        with AircheckClient(server.url, tls=other, token=token, retry=ONCE) as client:
            assert not client.ready()


def test_a_callers_allowance_is_its_own(doors):
    server, tls, token, slow = doors
    with AircheckClient(server.url, tls=tls, token=slow, retry=ONCE) as client:
        client.info()
        with pytest.raises(OverloadedError, match="1 calls a minute") as raised:
            client.info()
        assert 30 < raised.value.retry_after_s <= 60
    with AircheckClient(server.url, tls=tls, token=token, retry=ONCE) as client:
        client.info()


def test_neither_token_nor_its_hash_is_in_any_process(doors):
    server, _, token, _ = doors
    secrets = [token.encode(), Path(server.settings.tokens_file).read_bytes().split(b"sha256: ")[1][:64]]
    seen = 0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            text = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
        except OSError:
            continue
        if int(entry.name) != os.getpid():
            seen += b"tritonserver" in text
            assert not any(secret in text for secret in secrets), entry
    assert seen


def test_serve_reports_each_model_and_a_signal_ends_it_when_calls_are_answered():
    command = [sys.executable, "-m", "aircheck_client.cli", "serve", "--grpc-port", "0", "--metrics-port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        seen = ""
        while "ready after" not in seen:
            line = process.stderr.readline()
            assert line, seen
            seen += line
        seen = " ".join(seen.split())
        assert re.search(r"✓ policy \d+\.\d s", seen)
        assert "warning: Triton 2.51.0 has known holes, closed in 2.69" in seen  # the one that nvidia-pytriton carries
        assert not re.search(r"NVML|DCGM|CUDA", seen)  # noise of a machine without a GPU
        url = re.search(r"gRPC (127\.0\.0\.1:\d+)", seen)[1]
        with AircheckClient(url, retry=ONCE) as client:
            stream = client.stream(silent_mp3(2))
            next(stream)
            process.send_signal(signal.SIGTERM)
            deadline = time.monotonic() + 10
            while client.ready() and time.monotonic() < deadline:
                time.sleep(0.05)
            with AircheckClient(url, retry=ONCE) as late, pytest.raises(UnavailableError):
                late.scan_clip(wav(tone(1.0)))
            assert list(stream)[-1].scope == "episode"
        rest = process.stderr.read()
        assert process.wait(60) == 0, rest
    assert "stopped" in rest


def test_a_server_told_to_stop_ends_within_its_exit_timeout_whatever_is_in_flight():
    with Server(Settings.load(exit_timeout_s=2, **FREE_PORTS)) as server:
        client = AircheckClient(server.url, retry=ONCE)
        stream = client.stream(silent_mp3(60))  # far more work than the time-out allows
        next(stream)
        server.stop()
        with pytest.raises(AircheckError):
            list(stream)
