"""The load's users, for a few seconds, against the session's server: goodput and kinds of errors."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from aircheck.load import calls as call_file
from aircheck.load.workload import Kind, Workload

CLIPS = ("--lengths", "uniform:1,3", "--seed", "3")


def load(server, calls, *options, expect=0):
    command = [sys.executable, "-m", "benchmarks.load", "--headless", "--host", server.url, "--calls", str(calls)]
    done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=240)
    assert done.returncode == expect, done.stdout + done.stderr
    return call_file.read(calls)[1]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def test_an_open_loop_makes_every_call_once_and_gets_all_answers_also_by_two_workers(server, tmp_path):
    options = ("--rate", "1.5", "--seconds", "4", *CLIPS)
    arrivals = Workload(rate=1.5, seconds=4, lengths="uniform:1,3", seed=3).arrivals()
    assert len(arrivals) >= 3
    port = str(free_port())
    for own in ((), ("--processes", "2", "--master-bind-port", port, "--master-port", port)):
        calls = sorted(load(server, tmp_path / "calls.jsonl", *options, *own), key=lambda call: call.index)
        assert [(call.index, call.at_s, call.audio_s) for call in calls] == [
            (arrival.index, arrival.at_s, arrival.audio_s) for arrival in arrivals
        ]
        assert all(call.error == "" for call in calls)  # goodput is all that was offered
        assert all(call.started_s >= call.at_s and call.ended_s > call.started_s for call in calls)
        assert all(call.sent_bytes > 32_000 * call.audio_s and call.received_bytes > 100 for call in calls)


def test_a_mix_in_a_closed_loop_reports_what_each_kind_has(server, tmp_path):
    calls = load(
        server,
        tmp_path / "calls.jsonl",
        *("--loop", "closed", "--users", "4", "--seconds", "3", "--mix", "clip=1,episode=1,live=1,ensemble=1"),
        *("--triton-url", server.triton_url, "--episode-lengths", "20", "--live-lengths", "6", *CLIPS),
    )
    assert {call.kind for call in calls if not call.error} == set(Kind)
    for call in calls:
        if call.kind is Kind.EPISODE:
            assert call.at_s < call.first_s <= call.ended_s
        if call.kind is Kind.LIVE:
            assert call.ended_s - call.at_s >= 6
            assert call.delays_s
            assert all(delay_s > 0 for delay_s in call.delays_s)


def test_a_call_that_fails_is_counted_by_its_type_and_gives_no_goodput(server, tmp_path):
    def errors_of(kind, *own):
        options = ("--rate", "2", "--seconds", "3", "--timeout-s", "0.02", "--mix", f"{kind}=1", *CLIPS, *own)
        return {call.error for call in load(server, tmp_path / "calls.jsonl", *options, expect=1)}

    # the gateway may see that the deadline cannot be kept, and refuse at once
    assert errors_of("clip") in ({"DeadlineError"}, {"OverloadedError"}, {"DeadlineError", "OverloadedError"})
    assert errors_of("ensemble", "--triton-url", server.triton_url) == {"InferenceServerException"}


def test_load_goes_to_this_machine_alone(server, tmp_path):
    command = [sys.executable, "-m", "benchmarks.load", "--headless", "--host", "192.0.2.1:8001"]  # RFC 5737
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "--allow-host 192.0.2.1" in done.stderr


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install --no-install-recommends chromium")
def test_the_page_shows_audio_seconds_batch_sizes_and_queues(server, tmp_path):
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.load", "--autostart", "--web-host", "127.0.0.1"]
    command += ["--web-port", str(port), "--host", server.url, "--metrics-url", server.metrics_url]
    page = f"http://127.0.0.1:{port}/"
    with (tmp_path / "locust.log").open("w") as log:
        locust = subprocess.Popen([*command, "--rate", "2", "--seconds", "8", *CLIPS], stderr=log, stdout=log)
    try:
        _wait_for(lambda: "audio seconds answered" in _text(page + "stats/requests"))
        browser = [CHROMIUM, "--headless", "--disable-gpu", "--virtual-time-budget=8000", "--dump-dom"]
        browser += ["--no-sandbox"] if os.getuid() == 0 else []
        browser += [f"--user-data-dir={tmp_path / 'profile'}", f"{page}?tab=audio"]
        shown = subprocess.run(browser, capture_output=True, text=True, timeout=120).stdout
    finally:
        locust.terminate()
        locust.wait(60)
    for figure in ("audio seconds answered a second", "late starts", "text_safety: batch size", "whisper: queue, ms"):
        assert figure in shown


def _text(url):
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            return response.read().decode()
    except OSError:
        return ""


def _wait_for(condition):
    for _ in range(600):
        if condition():
            return
        time.sleep(0.2)
    raise AssertionError("it did not come to pass")
