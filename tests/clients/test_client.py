import socket
import subprocess
import sys
import time

import grpc
import pytest

from aircheck_client import AircheckClient, InvalidAudioError, Retry, Tls, UnavailableError
from aircheck_client.errors import from_status


@pytest.fixture
def nobody():
    """An address of this machine where nothing listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{listener.getsockname()[1]}"


def test_an_absent_server_is_asked_again_and_then_named(nobody):
    waited = []

    class Counting(Retry):
        def wait_s(self, attempt):
            waited.append(attempt)
            return 0.01

    with AircheckClient(nobody, retry=Counting(attempts=3)) as client:
        assert not client.ready()
        with pytest.raises(UnavailableError, match=f"no server answers at {nobody}.*is it running"):
            client.scan_clip(b"audio")
        assert waited == [1, 2]
        with pytest.raises(UnavailableError):
            client.scan(b"audio")
        assert waited == [1, 2, 1, 2]


def test_retries_end_with_the_deadline(nobody):
    patient = Retry(attempts=1000, first_wait_s=0.2, longest_wait_s=0.2)
    started = time.monotonic()
    with AircheckClient(nobody, retry=patient, timeout_s=1.0) as client, pytest.raises(Exception, match=nobody):
        client.scan_clip(b"audio")
    assert time.monotonic() - started < 30  # not a measurement: a thousand attempts would take minutes


@pytest.mark.parametrize(
    ("details", "words"),
    [
        ("whisper: 256 windows wait to be transcribed; try again later", "takes no more work at present"),
        ("failed to connect to all addresses; last error: Connection refused", "is it running"),
    ],
)
def test_an_overloaded_server_is_not_called_absent(details, words):
    error = from_status(grpc.StatusCode.UNAVAILABLE, details, "127.0.0.1:8001", "episode.mp3")
    assert isinstance(error, UnavailableError)
    assert words in str(error)
    assert details in str(error)


def test_waits_grow_and_are_jittered():
    retry = Retry(first_wait_s=1.0, longest_wait_s=8.0)
    for attempt, bound_s in ((1, 1.0), (2, 2.0), (3, 4.0), (9, 8.0)):
        waits = {retry.wait_s(attempt) for _ in range(200)}
        assert 0 <= min(waits) < 0.2 * bound_s
        assert 0.8 * bound_s < max(waits) <= bound_s


@pytest.mark.parametrize("url", ["10.0.0.7:8001", "aircheck.example:8001"])
def test_a_token_does_not_cross_a_network_in_clear(url):
    with pytest.raises(ValueError, match="in clear"):
        AircheckClient(url, token="secret")
    AircheckClient(url, token="secret", tls=True).close()
    AircheckClient("localhost:8001", token="secret").close()


def test_a_file_that_cannot_be_read_is_named(tmp_path, nobody):
    missing = tmp_path / "episode.mp3"
    with AircheckClient(nobody) as client:
        with pytest.raises(InvalidAudioError, match=r"episode\.mp3: cannot be read: No such file"):
            client.scan(missing)
        missing.touch()
        with pytest.raises(InvalidAudioError, match=r"episode\.mp3: the audio has 0 bytes"):
            client.scan(missing)


def test_a_certificate_that_is_not_there_is_an_error_at_once(tmp_path):
    with pytest.raises(FileNotFoundError):
        AircheckClient("127.0.0.1:1", tls=Tls(ca=tmp_path / "none.pem"))


def test_the_client_pulls_in_no_torch_and_help_no_grpc():
    """`aircheck --help` must be quick, and a client's machine need not carry the server's packages."""
    check = (
        "import sys; import aircheck_client, aircheck_client.client, aircheck_client.render; "
        "sys.exit(any(name in sys.modules for name in ('torch', 'transformers', 'nvidia', 'aircheck')))"
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
    assert all(command in done.stdout for command in ("scan", "serve", "demo"))
