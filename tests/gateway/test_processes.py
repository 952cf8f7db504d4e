"""The watch over Triton's processes, with sleeping ones in their place."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aircheck.gateway.processes import ProcessWatch, cpu_seconds, model_name
from aircheck.gateway.reaper import children


@pytest.fixture
def sleepers():
    """Two processes."""
    started = [subprocess.Popen(["sleep", "300"]) for _ in range(2)]
    yield started
    for process in started:
        process.kill()
        process.wait()


def watched(sleepers, act, pause_limit_s=0.5, timeout_s=20.0):
    async def run():
        watch = ProcessWatch({one.pid: f"model_{at}" for at, one in enumerate(sleepers)}, pause_limit_s)
        fault = asyncio.create_task(watch.fault())
        await asyncio.sleep(0)
        act()
        return await asyncio.wait_for(fault, timeout_s)

    return asyncio.run(run())


def test_a_process_that_is_killed_is_named(sleepers):
    assert "model_1" in watched(sleepers, sleepers[1].kill)


def test_a_process_that_has_already_ended_is_named(sleepers):
    sleepers[0].kill()
    sleepers[0].wait()
    assert "model_0" in watched(sleepers, lambda: None)


def test_a_process_that_stays_stopped_is_named(sleepers):
    fault = watched(sleepers, lambda: os.kill(sleepers[1].pid, signal.SIGSTOP))
    assert "model_1" in fault
    assert "stopped" in fault


def test_a_process_that_goes_on_in_time_is_no_fault(sleepers):
    def pause():
        os.kill(sleepers[1].pid, signal.SIGSTOP)
        asyncio.get_running_loop().call_later(0.4, os.kill, sleepers[1].pid, signal.SIGCONT)

    with pytest.raises(TimeoutError):
        watched(sleepers, pause, pause_limit_s=1.0, timeout_s=2.0)


def test_running_processes_are_no_fault_and_nothing_is_left_open(sleepers):
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(TimeoutError):
        watched(sleepers, lambda: None, timeout_s=0.6)
    assert set(os.listdir("/proc/self/fd")) == before


def test_children_are_found_and_models_are_known_by_their_command(sleepers):
    assert {one.pid for one in sleepers} <= set(children(os.getpid()))
    assert model_name(sleepers[0].pid) is None
    command = [sys.executable, "-c", "input()", "/repository/whisper/1/model.py"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as model:
        while not Path(f"/proc/{model.pid}/cmdline").read_bytes():  # for an instant, after exec
            pass
        assert model_name(model.pid) == "whisper"
        model.kill()


def test_cpu_time_is_that_of_the_processes_that_are_there():
    begun_s = time.process_time()
    before_s = cpu_seconds([os.getpid(), 2**22 + 1])  # above the kernel's highest process id
    while time.process_time() - begun_s < 0.3:
        pass
    assert cpu_seconds([os.getpid()]) - before_s >= 0.2
