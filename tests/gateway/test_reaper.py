"""The reaper: whatever ends, nothing that Triton started is left. A shell plays Triton, its children the models."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aircheck.gateway import reaper
from aircheck.gateway.processes import state
from aircheck.gateway.reaper import children

# one model's process in Triton's process group, one in a session of its own, one that is stopped
_TRITON = "sleep 300 & setsid sleep 300 & sleep 300 & kill -STOP $!; sleep 300"
_GATEWAY = """
import subprocess, sys, os, time
process = subprocess.Popen([sys.executable, "-I", "-S", sys.argv[1], str(os.getpid()), *sys.argv[2:]],
                           stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
print(process.pid, int(process.stdout.readline()), flush=True)
process.stdin.write(sys.stdin.readline().strip().encode().replace(b"end", b"\\n"))
process.stdin.close()
time.sleep(300)
"""


@pytest.fixture
def started(tmp_path):
    """(gateway process, reaper's pid, Triton's pid, what is Triton's, what is the gateway's)"""
    name = f"test_aircheck_{secrets.token_hex(4)}"
    region, folder, owner = Path(f"/dev/shm/{name}_region"), tmp_path / "gateway", Path(reaper.owner(name))
    run_dir = folder / reaper.RUN_DIR
    for file in (region, owner):
        file.write_bytes(b"audio")
    run_dir.mkdir(parents=True)
    command = [sys.executable, "-c", _GATEWAY, reaper.__file__, name, str(folder), "/bin/sh", "-c", _TRITON]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as gateway:
        reaper_pid, triton_pid = map(int, gateway.stdout.readline().split())
        until(lambda: len(children(triton_pid)) == 4 and any(state(pid) == "T" for pid in children(triton_pid)))
        yield gateway, reaper_pid, triton_pid, (region, run_dir), (folder, owner)
        gateway.kill()
    for file in (region, owner):
        file.unlink(missing_ok=True)


def until(condition, timeout_s=20.0):
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def is_gone(pid):
    return state(pid) in ("", "Z")


@pytest.mark.parametrize("victim", ["gateway", "triton"])
def test_nothing_outlives_the_gateway_or_triton_killed(started, victim):
    gateway, reaper_pid, triton_pid, of_triton, of_gateway = started
    processes = [triton_pid, *children(triton_pid)]
    assert len(processes) == 5
    os.kill(gateway.pid if victim == "gateway" else triton_pid, signal.SIGKILL)
    until(lambda: all(is_gone(pid) for pid in [reaper_pid, *processes]))
    assert not any(path.exists() for path in of_triton)
    assert [path.exists() for path in of_gateway] == [victim == "triton"] * 2


@pytest.mark.parametrize("word", ["end", ""])
def test_with_a_word_triton_ends_and_without_one_the_gateway_too(started, word):
    gateway, reaper_pid, triton_pid, of_triton, of_gateway = started
    print(word, file=gateway.stdin, flush=True)
    until(lambda: is_gone(triton_pid) and is_gone(reaper_pid))
    assert gateway.poll() is None
    assert not any(path.exists() for path in of_triton)
    assert [path.exists() for path in of_gateway] == [word == "end"] * 2


def test_triton_does_not_outlive_the_reaper(started):
    _, reaper_pid, triton_pid, _, _ = started
    os.kill(reaper_pid, signal.SIGKILL)
    until(lambda: is_gone(triton_pid))
    with contextlib.suppress(ProcessLookupError):
        os.killpg(triton_pid, signal.SIGKILL)  # the gateway's part: TritonProcess.kill


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_that_are_meant_for_the_gateway_end_nothing(started, signum):
    _, reaper_pid, triton_pid, of_triton, _ = started
    os.kill(reaper_pid, signum)
    time.sleep(0.3)
    assert not is_gone(reaper_pid)
    assert not is_gone(triton_pid)
    assert all(path.exists() for path in of_triton)


def test_it_exits_with_the_status_of_triton(tmp_path):
    command = [sys.executable, "-I", "-S", reaper.__file__, str(os.getpid()), "aircheck_test", str(tmp_path / "run")]
    with subprocess.Popen([*command, "/bin/sh", "-c", "exit 3"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as run:
        assert run.wait(30) == 3


def test_what_cannot_be_started_is_named(tmp_path):
    command = [sys.executable, "-I", "-S", reaper.__file__, str(os.getpid()), "aircheck_test", str(tmp_path / "run")]
    with subprocess.Popen(
        [*command, "/no/triton"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as run:
        assert run.wait(30) == 127
        assert "/no/triton: No such file or directory" in run.stdout.read()
