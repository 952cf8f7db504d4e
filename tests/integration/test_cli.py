"""The `aircheck` command as a user types it."""

import contextlib
import csv
import http.server
import io
import json
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml

from aircheck.gateway.access import Token
from aircheck_client import Verdict
from support.audio import encode, silence, tone, wav
from support.speech import speak

SAMPLE = Path(__file__).parents[2] / "samples" / "episode.mp3"
THREAT = "i will find you and i will kill you"
AIRCHECK = [sys.executable, "-m", "aircheck_client.cli"]


def aircheck(*arguments, stdin=None, **environment):
    return subprocess.run(
        [*AIRCHECK, *map(os.fsdecode, arguments)],
        input=stdin,
        capture_output=True,
        encoding=None if isinstance(stdin, bytes) else "utf-8",
        timeout=300,
        env={**os.environ, "COLUMNS": "120", **environment},
    )


def shell(line, server, timeout_s=120):
    """A line for bash in which `aircheck` is the command. Standard error in a file of its own is up to the line."""
    script = f'aircheck() {{ {shlex.join(AIRCHECK)} "$@"; }}; {line}'
    environment = {**os.environ, "AIRCHECK_URL": server.url}
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=timeout_s, env=environment)


@pytest.fixture
def quiet(tmp_path):
    path = tmp_path / "quiet.wav"
    path.write_bytes(wav(silence(3.0)))
    return path


@pytest.fixture(scope="module")
def threat(tmp_path_factory):
    path = tmp_path_factory.mktemp("threat") / "threat.mp3"
    path.write_bytes(encode(speak(THREAT), "mp3"))
    return path


def test_a_clean_recording_exits_with_0(server, quiet):
    done = aircheck("scan", quiet, "--url", server.url)
    assert done.returncode == 0, done.stderr
    assert "ALLOW" in done.stdout
    assert "nothing found" in done.stdout


def test_a_harmful_recording_exits_with_1_and_shows_where(server):
    done = aircheck("scan", SAMPLE, AIRCHECK_URL=server.url)
    assert done.returncode == 1, done.stderr
    assert "violence_threat" in done.stdout
    assert "decision: BLOCK" in done.stdout


def test_a_recording_that_cannot_be_checked_is_not_clean(server, tmp_path):
    path = tmp_path / "cut_off.flac"
    path.write_bytes(encode(tone(20.0), "flac")[:-100_000])
    done = aircheck("scan", path, "--url", server.url)
    assert done.returncode == 1, done.stderr
    assert "decision: REVIEW" in done.stdout
    assert "of audio could not be decoded" in done.stdout


def test_json_is_one_verdict_a_line_and_carries_the_context(server, quiet):
    options = ("--json", "--content-type", "audiobook", "--market", "SE", "--policy", "strict", "--url", server.url)
    done = aircheck("scan", quiet, quiet, *options)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["file"] for line in lines] == [str(quiet)] * 2
    assert {tuple(line) for line in lines} == {("file", "verdict")}
    assert set(lines[0]["verdict"]) == set(Verdict.model_fields)  # also what is empty or unknown
    verdict = Verdict.model_validate(lines[0]["verdict"])
    assert (verdict.context.content_type, verdict.context.market, verdict.policy_pack) == ("audiobook", "SE", "strict")


def test_one_bad_file_is_named_and_the_others_are_still_scanned(server, quiet, tmp_path):
    bad = tmp_path / "bad.mp3"
    bad.write_bytes(b"not audio at all " * 100)
    done = aircheck("scan", tmp_path / "missing.mp3", bad, quiet, "--json", "--url", server.url)
    assert done.returncode == 2
    assert [json.loads(line)["file"] for line in done.stdout.splitlines()] == [str(quiet)]
    missing, damaged = done.stderr.splitlines()  # a line for each, however long
    assert missing == f"error: {tmp_path / 'missing.mp3'}: cannot be read: No such file or directory"
    assert damaged.startswith(f"error: {bad}: not a known audio file")


def test_bad_files_among_good_ones_cost_one_command_only_themselves(server, client, tmp_path):
    """As reported of Triton 2.51, whose streams that ended in an error ended the server (its issues 7368 and 8034)."""
    good, bad = tmp_path / "good.wav", tmp_path / "bad.mp3"
    good.write_bytes(wav(tone(0.5)))
    bad.write_bytes(b"<!DOCTYPE html><html><body>Not found</body></html>")
    done = aircheck("scan", *[good, bad] * 40, "--json", "--url", server.url)
    assert done.returncode == 2
    assert [json.loads(line)["file"] for line in done.stdout.splitlines()] == [str(good)] * 40
    refused = f"error: {bad}: not a known audio file (looks like an HTML page)"
    assert [line[: len(refused)] for line in done.stderr.splitlines()] == [refused] * 40
    assert client.ready()


@pytest.mark.parametrize(("fail_on", "code"), [("review", 1), ("block", 0)])
def test_what_is_milder_than_fail_on_is_no_failure(server, tmp_path, fail_on, code):
    path = tmp_path / "cut_off.flac"  # for review
    path.write_bytes(encode(tone(20.0), "flac")[:-100_000])
    assert aircheck("scan", path, "--fail-on", fail_on, "--url", server.url).returncode == code


# ---- standard streams ----


@pytest.mark.parametrize(("to", "words"), [("/dev/full", "No space left on device"), ("&-", "is closed")])
@pytest.mark.parametrize("form", ["text", "json", "csv"])
def test_an_output_that_cannot_be_written_is_a_failure(server, quiet, form, to, words):
    done = shell(f"aircheck scan {quiet} --format {form} >{to}", server)
    assert done.returncode == 2
    assert done.stderr == f"error: standard output: {words}\n"


@pytest.mark.parametrize("to", ["/dev/full", "&-"])
def test_errors_that_cannot_be_told_are_in_the_exit_code(server, quiet, to):
    assert shell(f"aircheck scan {quiet} missing.wav 2>{to}", server).returncode == 2
    assert shell(f"aircheck scan {quiet} 2>{to}", server).returncode == 0


def test_who_has_seen_enough_gets_the_code_of_what_was_found(server, quiet, threat):
    many = " ".join([str(quiet)] * 3)
    done = shell(f"aircheck scan {threat} {many} --json | head -1; exit ${{PIPESTATUS[0]}}", server)
    assert (done.returncode, done.stderr) == (1, "")
    assert json.loads(done.stdout)["verdict"]["action"] == "block"
    done = shell(f"aircheck scan {threat} {many} | true; exit ${{PIPESTATUS[0]}}", server)
    assert (done.returncode, done.stderr) == (1, "")
    done = shell(f"aircheck scan missing.wav {many} | true; exit ${{PIPESTATUS[0]}}", server)
    assert done.returncode == 2


def test_standard_input_is_scanned(server, threat):
    done = shell(f"cat {threat} | aircheck scan - --json", server)
    assert done.returncode == 1, done.stderr
    line = json.loads(done.stdout)
    assert line["file"] == "standard input"
    assert line["verdict"]["action"] == "block"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("aircheck scan - </dev/null", "the audio has 0 bytes"),
        ("aircheck scan - <&-", "cannot be read: it is closed"),
        ("yes | tr -d '\\n' | head -c 9000000 | aircheck scan -", "not a known audio file"),
    ],
)
def test_a_standard_input_without_audio_is_named(server, line, words):
    done = shell(line, server)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: standard input: {words}")
    assert len(done.stderr.splitlines()) == 1


def test_a_refused_upload_does_not_wait_for_its_writer(server):
    command = [*AIRCHECK, "scan", "-", "--url", server.url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(b"<html>" + bytes(9_000_000))
            process.stdin.flush()
        assert process.wait(60) == 2  # standard input is still open
        assert b"standard input: not a known audio file" in process.stderr.read()


# ---- names ----

NAMES = {
    "latin-1": "caf\xe9.wav".encode("latin-1"),
    "Japanese": "日本語.wav".encode(),
    "brackets": b"Ep 7 [explicit].wav",
    "line break": b"a\nb.wav",
}


@pytest.mark.parametrize(
    ("form", "environment"),
    [("text", {"PYTHONIOENCODING": "latin-1"}), ("json", {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"})],
)
def test_any_file_name_is_scanned_and_told(server, quiet, tmp_path, form, environment):
    for name in NAMES.values():
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(quiet.read_bytes())
    folder = os.fsencode(tmp_path)
    paths = [folder + b"/" + name for name in NAMES.values()]
    options = ("--format", form, "--url", server.url)
    done = aircheck("scan", *paths, folder + b"/none-\xe9.wav", *options, stdin=b"", **environment)
    assert done.returncode == 2
    (error,) = done.stderr.splitlines()
    assert b"none-\\xe9.wav: cannot be read" in error
    if form == "json":
        files = [json.loads(line)["file"] for line in done.stdout.decode("utf-8").splitlines()]
        names = [name.removeprefix(f"{tmp_path}/") for name in files]
        assert names == ["caf\\xe9.wav", "日本語.wav", "Ep 7 [explicit].wav", "a\nb.wav"]
    else:
        assert done.stdout.count(b"ALLOW") == len(paths)
        assert b"Ep 7 [explicit].wav" in done.stdout


def test_on_a_terminal_names_are_whole_and_errors_are_one_line(server, quiet, tmp_path):
    path = tmp_path / "Ep 7 [explicit].wav"
    path.write_bytes(quiet.read_bytes())
    missing = tmp_path / f"{'long ' * 20}[bold].wav"
    master, slave = pty.openpty()
    with subprocess.Popen(
        [*AIRCHECK, "scan", path.name, missing.name, "--url", server.url],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=slave,
        cwd=tmp_path,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "80"},
    ) as process:
        os.close(slave)
        told = b""
        while piece := read_terminal(master):
            told += piece
        shown = process.stdout.read().decode()
        assert process.wait(60) == 2
    os.close(master)
    assert "Ep 7 [explicit].wav" in shown
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", told.decode())
    assert "Ep 7 [explicit]" in plain  # the bar, whose line may be too narrow for all of it
    assert f"error: {missing.name}: cannot be read: No such file or directory" in plain


def read_terminal(master):
    try:
        return os.read(master, 4096)
    except OSError:  # the other end is closed
        return b""


# ---- formats ----


def test_each_format_is_what_it_says(server, threat, quiet):
    def scanned(form, *files):
        done = aircheck("scan", *files, "--format", form, "--url", server.url)
        assert done.returncode == 1, done.stderr
        return done.stdout

    captions = scanned("vtt", threat)
    assert captions.startswith("WEBVTT\n")
    assert re.search(r"00:00:00\.\d{3} --> 00:00:0\d\.\d{3}\n\[.*violence_threat: block\]", captions)
    assert re.match(r"1\n00:00:00,\d{3} --> 00:00:0\d,\d{3}\n", scanned("srt", threat))
    chapters = json.loads(scanned("chapters", threat))
    assert chapters["version"] == "1.2.0"
    assert "violence_threat: high, block" in [chapter["title"] for chapter in chapters["chapters"]]
    header, *rows = csv.reader(io.StringIO(scanned("csv", threat, quiet)))
    assert {row[header.index("file")] for row in rows} == {str(threat)}


@pytest.mark.parametrize("form", ["vtt", "srt", "chapters"])
def test_a_format_of_one_recording_takes_one(server, quiet, form):
    done = aircheck("scan", quiet, quiet, "--format", form, "--url", server.url)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"--format {form}: makes one file of one recording" in done.stderr


# ---- listen ----


def test_a_file_is_listened_to_at_the_pace_at_which_it_plays(server, threat):
    begun_s = time.monotonic()
    done = aircheck("listen", threat, "--url", server.url)
    assert done.returncode == 1, done.stderr
    assert time.monotonic() - begun_s > 2  # it lasts 2.4 s
    assert re.search(r"^00:00 .*kill you.*\[.*violence_threat: block", done.stdout, re.MULTILINE)
    assert "decision: BLOCK" in done.stdout


@pytest.mark.parametrize("form", ["json", "csv"])
def test_raw_samples_are_listened_to_from_standard_input(server, form):
    pcm = wav(speak(THREAT))[44:]
    done = aircheck("listen", "-", "--pcm", "16000", "--format", form, "--url", server.url, stdin=pcm)
    assert done.returncode == 1, done.stderr
    if form == "json":
        *windows, episode = [json.loads(line)["verdict"] for line in done.stdout.splitlines()]
        assert {window["scope"] for window in windows} == {"window"}
        assert (episode["scope"], episode["action"]) == ("episode", "block")
    else:
        header, *rows = csv.reader(io.StringIO(done.stdout.decode()))
        found = [row[header.index("category")] for row in rows]
        assert found.count("violence_threat") == 1
        assert {row[0] for row in rows} == {"standard input"}


class Station(http.server.BaseHTTPRequestHandler):
    """Plays the threat for ever, as a radio station does, or breaks off in the middle of a chunk."""

    data = b""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "audio/mpeg")
        if self.path == "/torn":
            self.send_header("Content-Length", str(10 * len(self.data)))
        self.end_headers()
        try:
            while True:
                self.wfile.write(self.data)
                if self.path != "/live":
                    return
                time.sleep(0.2)
        except OSError:
            pass

    def log_message(self, *_):
        pass


@pytest.fixture
def station(threat):
    Station.data = threat.read_bytes()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Station) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def test_a_stream_is_listened_to_until_it_ends(server, station):
    done = aircheck("listen", f"{station}/once", "--url", server.url)
    assert done.returncode == 1, done.stderr
    assert "decision: BLOCK" in done.stdout


def test_a_stream_that_breaks_off_is_a_failure_that_keeps_what_was_heard(server, station):
    done = aircheck("listen", f"{station}/torn", "--url", server.url)
    assert done.returncode == 2
    assert f"error: {station}/torn: broke off: " in done.stderr
    assert "decision: BLOCK" in done.stdout


def test_ctrl_c_ends_listening_with_the_code_of_what_was_found(server, station):
    command = [*AIRCHECK, "listen", f"{station}/live", "--url", server.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while "violence_threat" not in process.stdout.readline():
            pass
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (1, "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("http://127.0.0.1:9/live",), "http://127.0.0.1:9/live: cannot be read"),
        (("http://[::1/live",), "http://[::1/live: cannot be read"),
        (("none.mp3",), "none.mp3: cannot be read: No such file or directory"),
        (("none.mp3", "--format", "vtt"), "--format vtt: live audio has text, json, csv"),
        (("none.mp3", "--market", "sweden"), "--market"),
    ],
)
def test_what_cannot_be_listened_to_is_named(server, arguments, words):
    done = aircheck("listen", *arguments, "--url", server.url)
    assert done.returncode == 2
    assert words in done.stderr


# ---- token ----


def test_a_token_goes_into_a_file_for_one_reader_and_its_entry_to_the_output(tmp_path):
    out = tmp_path / "ingestion.token"
    done = aircheck("token", "ingestion", "--out", out)
    assert done.returncode == 0, done.stderr
    (entry,) = yaml.safe_load("tokens:\n" + done.stdout)["tokens"]
    token = out.read_text().strip()
    assert out.stat().st_mode & 0o777 == 0o600
    assert len(token) >= 32
    assert token not in done.stdout + done.stderr
    assert Token(**entry).name == "ingestion"
    again = aircheck("token", "ingestion", "--out", out)
    assert again.returncode == 2
    assert "exists" in again.stderr
    assert out.read_text().strip() == token
    assert aircheck("token", "in gestion", "--out", tmp_path / "other").returncode == 2
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--market", "sweden"), "--market"),
        (("--content-type", "video"), "--content-type"),
        (("--policy", "../x"), "--policy"),
        (("--url", "127.0.0.1:1"), "no server answers at 127.0.0.1:1"),
    ],
)
def test_a_wrong_option_exits_with_2_and_is_named(server, quiet, options, words):
    done = aircheck("scan", quiet, "--url", server.url, *options)
    assert done.returncode == 2
    assert words in " ".join(done.stderr.split())


def test_a_setting_nobody_knows_stops_serve_with_2():
    done = aircheck("serve", AIRCHECK_GRPC_PROT="9001")
    assert done.returncode == 2
    assert "did you mean AIRCHECK_GRPC_PORT" in " ".join(done.stderr.split())


def test_the_demo_runs_from_start_to_stop_and_leaves_its_json(tmp_path):
    recording = tmp_path / "episode.wav"
    recording.write_bytes(wav(speak("i will find you and i will kill you")))
    done = aircheck("demo", recording)
    assert done.returncode == 0, done.stdout + done.stderr
    verdict = Verdict.model_validate_json((tmp_path / "episode.verdict.json").read_text())
    assert verdict.scope == "episode"
    assert verdict.findings
    for words in ("ready after", "decision: BLOCK", "times real time", "make serve"):
        assert words in done.stdout
    assert "CUDA" not in done.stdout
