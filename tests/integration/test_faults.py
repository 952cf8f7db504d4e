"""Processes of a real Triton that are killed or stopped under load: nothing is lost, and health says so meanwhile."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import psutil
import pytest

from aircheck.gateway.answers import Answer
from aircheck.gateway.processes import state
from aircheck.gateway.supervisor import ServerState, Supervisor
from aircheck.gateway.workspace import Workspace
from aircheck.settings import ROOT, Settings
from aircheck_client.schema import Context
from benchmarks.clips import sample_clips
from preprocessing.errors import AudioError
from support.triton import FREE_PORTS

MODELS = ("audio_decode", "acoustic_safety", "whisper", "text_safety", "policy")
IN_FLIGHT = 3
NOTICE_S = 2.0  # the promise, not a measurement: health tells the truth within
RECOVERY_S = 60.0


class Supervised:
    """A supervisor on an event loop of its own, for tests that are no coroutines."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.supervisor = Supervisor(Settings.load(**FREE_PORTS))
        self.states: list[tuple[float, ServerState]] = []
        self.supervisor.on_state(lambda reached: self.states.append((time.monotonic(), reached)))
        self(self.supervisor.__aenter__())

    def __call__(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(300)

    def infer(self, *windows: bytes) -> list[Answer | Exception]:
        async def all_of_them() -> Any:
            calls = [self.supervisor.infer(wav, Context(), "en", None) for wav in windows]
            return await asyncio.gather(*calls, return_exceptions=True)

        return self(all_of_them())

    def pid(self, name: str) -> int:
        return next(pid for pid, its in self.supervisor.triton.processes().items() if its == name)

    def when_asked(self, act: Callable[[], None]) -> None:
        """Acts as soon as windows are with the models."""

        async def wait() -> None:
            while self.supervisor.in_flight < IN_FLIGHT:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.2)
            act()

        asyncio.run_coroutine_threadsafe(wait(), self._loop)

    def close(self) -> None:
        self(self.supervisor.__aexit__(None, None, None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture(scope="module")
def supervised():
    running = Supervised()
    yield running
    running.close()


@pytest.fixture(scope="module")
def windows():
    return sample_clips(ROOT / "samples" / "episode.mp3", 4.0)[1 : 1 + IN_FLIGHT]


@pytest.fixture(scope="module")
def expected(supervised, windows):
    return supervised.infer(*windows)


def check_recovery(supervised, windows, expected, name, act):
    """Acts on a process while windows are in flight; all are answered rightly, and health says what happens."""
    restarts, acted_at = supervised.supervisor.restarts, []
    supervised.states.clear()

    def at_once():
        acted_at.append(time.monotonic())
        act(supervised.pid(name))

    supervised.when_asked(at_once)
    assert supervised.infer(*windows) == expected
    until_s = time.monotonic() + RECOVERY_S
    while len(supervised.states) < 2 and time.monotonic() < until_s:
        time.sleep(0.05)  # windows may be answered before a reaper is missed: they do not need it
    assert supervised.supervisor.restarts == restarts + 1
    (noticed_at, first), (_, second) = supervised.states
    assert (first, second) == (ServerState.RECOVERING, ServerState.SERVING)
    assert noticed_at - acted_at[0] < NOTICE_S
    assert supervised.infer(*windows) == expected


@pytest.mark.parametrize("name", ["whisper", "policy", "tritonserver", "reaper"])
def test_a_killed_process_loses_no_window(supervised, windows, expected, name):
    assert all(isinstance(answer, Answer) for answer in expected)
    regions, address = supervised.supervisor.triton.shared_memory(), supervised.supervisor.address
    check_recovery(supervised, windows, expected, name, lambda pid: os.kill(pid, signal.SIGKILL))
    assert regions
    assert not any(region.exists() for region in regions)
    assert supervised.supervisor.address == address


@pytest.mark.parametrize(("name", "seconds"), [("whisper", 3.0), ("reaper", 60.0)])
def test_a_process_that_is_stopped_for_a_while_loses_no_window(supervised, windows, expected, name, seconds):
    def stop(pid):
        process = psutil.Process(pid)
        process.suspend()
        resume = threading.Timer(seconds, lambda: process.is_running() and process.resume())
        resume.daemon = True
        resume.start()

    check_recovery(supervised, windows, expected, name, stop)


def test_audio_that_cannot_be_used_is_the_callers_error_and_nobody_elses(supervised, windows, expected):
    bad, *good = supervised.infer(b"RIFF" + bytes(1000), *windows)
    assert isinstance(bad, AudioError)
    assert "ensemble" not in str(bad)
    assert good == expected


def test_windows_whose_callers_have_gone_are_dropped_by_whisper(supervised, windows):
    whisper = psutil.Process(supervised.pid("whisper"))

    def spent_s():
        return sum(whisper.cpu_times()[:2])

    begun_s = spent_s()
    supervised.infer(*[windows[0]] * 32)
    all_of_them_s = spent_s() - begun_s

    async def give_up():
        begun_s = spent_s()
        calls = [asyncio.create_task(supervised.supervisor.infer(windows[0], Context(), "en", None)) for _ in range(32)]
        while spent_s() - begun_s < all_of_them_s / 10 and not any(call.done() for call in calls):
            await asyncio.sleep(0.01)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)

    begun_s = spent_s()
    supervised(give_up())
    assert all(isinstance(answer, Answer) for answer in supervised.infer(windows[0]))
    assert spent_s() - begun_s < 0.6 * all_of_them_s


def test_nobody_else_can_reach_triton_or_read_its_memory(supervised):
    triton = supervised.supervisor.triton
    assert triton.shared_memory()
    assert {region.stat().st_mode & 0o777 for region in triton.shared_memory()} == {0o600}
    directory = Path(triton.link.url.removeprefix("unix:")).parent
    assert directory.stat().st_mode & 0o777 == 0o700
    for pid in triton.processes():
        assert not [c for c in psutil.Process(pid).net_connections("inet") if c.status == psutil.CONN_LISTEN]


def test_metrics_are_those_of_triton_and_of_the_models(supervised):
    text = supervised(supervised.supervisor.metrics())
    assert 'nv_inference_request_success{model="audio_safety"' in text


STEM = f"test_aircheck_{secrets.token_hex(4)}"
_GATEWAY = """
import asyncio
import sys
from pathlib import Path
from aircheck.gateway.supervisor import Supervisor
from aircheck.settings import Settings

async def main():
    async with Supervisor(Settings.load(shm_prefix=sys.argv[1])) as triton:
        print(Path(triton.address.removeprefix("unix:")).parent, *triton.triton.shared_memory(), flush=True)
        print(*(word for process in triton.triton.processes().items() for word in process), flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.mark.parametrize("killed_too", ["nothing", "reaper"])
def test_nothing_outlives_a_killed_gateway(killed_too):
    """What it and its reaper cannot remove, killed both, is removed by the next gateway."""
    environment = {**os.environ, "AIRCHECK_TOKEN": "open-sesame", "AIP_MODE": "PREDICTION"}
    command = [sys.executable, "-c", _GATEWAY, STEM]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as gateway:
        left = [Path(path) for path in gateway.stdout.readline().split()]
        pids = dict(zip(*[iter(gateway.stdout.readline().split())] * 2, strict=True))
        processes = [int(pid) for pid in pids]
        assert len(processes) == len(MODELS) + 2
        for pid in processes:
            seen = Path(f"/proc/{pid}/environ").read_bytes() + Path(f"/proc/{pid}/cmdline").read_bytes()
            assert b"open-sesame" not in seen
            assert b"AIP_MODE" not in seen
        if killed_too == "reaper":
            gateway.send_signal(signal.SIGSTOP)  # or it would notice
            os.kill(next(int(pid) for pid, name in pids.items() if name == "reaper"), signal.SIGKILL)
        else:
            os.kill(processes[-1], signal.SIGSTOP)  # a stopped one cannot end by itself
        gateway.kill()
    deadline_s = time.monotonic() + 5
    while any(state(pid) not in ("", "Z") for pid in processes):
        assert time.monotonic() < deadline_s, [pid for pid in processes if state(pid)]
        time.sleep(0.05)
    if killed_too == "reaper":
        assert left[0].exists()  # of the shared memory, the models' processes may have removed some as they ended
        Workspace(STEM).close()
    assert not any(path.exists() for path in left)
