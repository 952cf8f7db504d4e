"""The launcher: starting, refusing to start, stopping, and being killed, with a real Triton each time."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest
import tritonclient.grpc as triton
import trustme
from tritonclient.utils import InferenceServerException

from aircheck.server import Server
from aircheck.settings import Settings
from aircheck.triton import TritonError
from aircheck_client import AircheckClient, AircheckError, AuthenticationError, Retry, Tls, UnavailableError
from support.audio import encode, silence
from support.triton import FREE_PORTS

ROOT = Path(__file__).parents[2]


@pytest.fixture
def small_repository(tmp_path):
    """A repository with the policy model alone, which is ready in a second or two."""
    (tmp_path / "repository").mkdir()
    (tmp_path / "repository" / "policy").symlink_to(ROOT / "model_repository" / "policy")
    return tmp_path / "repository"


def shared_memory(server):
    return list(Path("/dev/shm").glob(f"{server.shm_prefix}*"))


def test_two_servers_run_side_by_side_and_leave_nothing_behind(small_repository):
    settings = Settings.load(model_repository=small_repository, **FREE_PORTS)
    with Server(settings) as one, Server(settings) as other:
        assert one.url != other.url
        for server in (one, other):
            assert triton.InferenceServerClient(server.url).is_server_ready()
            assert shared_memory(server)
            assert server.url.startswith("127.0.0.1:")
        pids = one.pid, other.pid
    for server in (one, other):
        assert not shared_memory(server)
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_paths_may_be_relative_to_where_the_user_stands(small_repository, monkeypatch):
    monkeypatch.chdir(ROOT / "server_config")
    with Server(Settings.load(model_repository=small_repository, policy_dir="policies", **FREE_PORTS)) as server:
        assert triton.InferenceServerClient(server.url).is_model_ready("policy")


def test_nobody_administers_the_server_over_the_network(small_repository):
    with Server(Settings.load(model_repository=small_repository, **FREE_PORTS)) as server:
        client = triton.InferenceServerClient(server.url)
        for administer in (
            lambda: client.register_system_shared_memory("x", "/aircheck_test", 16),
            lambda: client.load_model("policy"),
            lambda: client.update_log_settings({"log_verbose_level": 1}),
            lambda: client.update_trace_settings(settings={"trace_level": ["TIMESTAMPS"]}),
        ):
            with pytest.raises(InferenceServerException, match="restricted"):
                administer()
        assert client.is_server_ready()


def test_a_taken_port_is_named_with_the_setting_that_changes_it(small_repository):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        settings = Settings.load(model_repository=small_repository, **FREE_PORTS | {"grpc_port": port})
        with pytest.raises(TritonError, match=rf"127\.0\.0\.1:{port} for gRPC .*--grpc-port or AIRCHECK_GRPC_PORT"):
            Server(settings).start()


def test_a_model_that_cannot_load_is_reported_in_its_own_words(tmp_path):
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy" / "config.pbtxt").symlink_to(ROOT / "model_repository" / "policy" / "config.pbtxt")
    (tmp_path / "policy" / "1").symlink_to(ROOT / "model_repository" / "policy" / "1")
    broken = tmp_path / "packs"
    broken.mkdir()
    (broken / "default.yaml").write_text("name: default\nversion: '1'\nlevells: []\n")
    server = Server(Settings.load(model_repository=tmp_path, policy_dir=broken, **FREE_PORTS))
    with pytest.raises(TritonError, match="levells"):
        server.start()
    assert not shared_memory(server)


def test_a_triton_that_is_not_there_is_named(tmp_path):
    with pytest.raises(TritonError, match="AIRCHECK_TRITON"):
        Server(Settings.load(triton=tmp_path / "tritonserver", **FREE_PORTS)).start()


def test_a_token_is_asked_for_and_honoured(small_repository, monkeypatch):
    monkeypatch.setenv("AIRCHECK_TOKEN", "open-sesame")
    settings = Settings.load(model_repository=small_repository, **FREE_PORTS)
    monkeypatch.delenv("AIRCHECK_TOKEN")
    with Server(settings) as server:
        for wrong in (None, "shut-sesame"):
            with AircheckClient(server.url, token=wrong) as client, pytest.raises(AuthenticationError, match="token"):
                client.scan_clip(b"RIFF")
        with AircheckClient(server.url, token="open-sesame") as client, pytest.raises(AircheckError) as error:
            client.scan_clip(b"RIFF")
        assert "audio_safety" in str(error.value)  # let in: only the model is missing in this small repository
        assert not isinstance(error.value, AuthenticationError)


def test_tls_lets_in_who_trusts_the_certificate(small_repository, tmp_path):
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    roots, certificate, key = (tmp_path / name for name in ("roots.pem", "server.pem", "server.key"))
    authority.cert_pem.write_to_path(roots)
    issued.cert_chain_pems[0].write_to_path(certificate)
    issued.private_key_pem.write_to_path(key)
    settings = Settings.load(model_repository=small_repository, tls_certificate=certificate, tls_key=key, **FREE_PORTS)
    with Server(settings) as server:
        with AircheckClient(server.url, tls=Tls(ca=roots)) as trusting:
            assert trusting.ready()
        with AircheckClient(server.url, tls=True) as wary:
            assert not wary.ready()
        with AircheckClient(server.url) as plain:
            assert not plain.ready()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_serve_reports_each_model_and_stops_in_order_on_a_signal(small_repository, signum):
    command = [sys.executable, "-m", "aircheck_client.cli", "serve", "--exit-timeout", "5"]
    command += ["--grpc-port", "0", "--http-port", "0", "--metrics-port", "0"]
    environment = {**os.environ, "AIRCHECK_MODEL_REPOSITORY": str(small_repository)}
    default = partial(signal.signal, signum, signal.SIG_DFL)  # what a shell starts in the background ignores SIGINT
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment, preexec_fn=default) as process:
        seen = ""
        while "ready after" not in seen:
            line = process.stderr.readline()
            assert line, seen
            seen += line
        assert re.search(r"✓ policy +\d+\.\d s", seen)
        assert not re.search(r"NVML|DCGM|CUDA", seen)  # noise of a machine without a GPU
        process.send_signal(signum)
        rest = process.stderr.read()
        assert process.wait(30) == 0, rest
    assert "stopped" in rest


def test_a_server_told_to_stop_ends_within_its_exit_timeout_whatever_is_in_flight():
    server = Server(Settings.load(exit_timeout_s=3, **FREE_PORTS))
    server.start()
    client = AircheckClient(server.url, retry=Retry(attempts=1))
    stream = client.stream(encode(silence(300.0), "mp3"))  # far more work than the time-out allows
    next(stream)
    started = time.monotonic()
    server.stop()
    assert time.monotonic() - started < 15  # not a measurement: the default time-out alone is 30 s
    with pytest.raises(AircheckError, match=server.url):
        list(stream)
    assert not shared_memory(server)


def test_a_killed_server_is_a_clear_error_for_its_clients():
    with Server(Settings.load(**FREE_PORTS)) as server:
        client = AircheckClient(server.url, retry=Retry(attempts=2, first_wait_s=0.1))
        stream = client.stream(encode(silence(300.0), "mp3"))
        next(stream)
        threading.Timer(0.2, os.kill, (server.pid, signal.SIGKILL)).start()
        with pytest.raises(UnavailableError, match=server.url):
            list(stream)
        started = time.monotonic()
        with pytest.raises(UnavailableError, match="is it running"):
            client.scan_clip(b"RIFF")
        assert time.monotonic() - started < 30
        assert not client.ready()
    assert not shared_memory(server)
