"""The faults. Each is a coroutine that takes a running server, does its harm, and returns a row of the table."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

from aircheck.server import Server
from aircheck_client import AsyncAircheckClient, Retry, Verdict
from benchmarks.faults.load import LOST_AFTER_S, HealthWatch, Outcome, Requests, Row, content
from preprocessing.wave_file import wave_bytes

MODELS = ("audio_decode", "acoustic_safety", "whisper", "text_safety", "policy")
IN_FLIGHT = 8  # clips, beside a recording
PAUSE_S = 3.0
OVERLOAD, OVERLOAD_S, PATIENCE_S = 10, 10.0, 20.0  # times the measured rate; for how long; each caller's deadline
IDLE = 500
SLOW = 4  # readers, and as many writers
RUDE, RUDE_DEADLINE_S = 300, 0.05
PAIRS, ROUNDS = 80, 10  # good and bad files of one command, and how often it is given
_BAD = b"<!DOCTYPE html><html><body>Not found</body></html>"
_RECOVERY_TIMEOUT_S = 120.0
_random = random.Random(0)  # which callers leave when


@dataclass(frozen=True)
class Stage:
    """A server with the settings of this benchmark, and requests to it."""

    server: Server
    client: AsyncAircheckClient
    requests: Requests
    clip: bytes
    recording: bytes


def all_faults() -> dict[str, Callable[[Stage], Awaitable[Row]]]:
    """By name, in the order in which they are done: the last one ends the server."""
    killed = (*MODELS, "tritonserver", "reaper", "zygote")
    return {
        **{f"kill {name}": _killer(name) for name in killed},
        "kill decoder": kill_decoder,
        **{f"stop {name}": _stopper(name) for name in ("whisper", "tritonserver")},
        "alternating": alternating,
        "overload": overload,
        "idle": idle_connections,
        "slow": slow_callers,
        "rude": rude_callers,
        "shm": full_shared_memory,
        "spool": full_spool,
        "sigterm": terminate,
    }


def _killer(name: str) -> Callable[[Stage], Awaitable[Row]]:
    async def kill(stage: Stage) -> Row:
        return await _during(stage, f"kill -9 `{name}`", lambda: _process(stage.server, name).kill())

    return kill


async def kill_decoder(stage: Stage) -> Row:
    """The decoder of a recording of which half has come: its caller is told, with what was found until then."""
    held = _HeldFile(stage.recording)
    call = asyncio.create_task(stage.requests.scan(source=held))
    while not (decoder := await asyncio.to_thread(_decoder_at_work, stage.server)):
        await asyncio.sleep(0.1)

    def act() -> None:
        decoder.kill()
        held.go_on.set()

    return await _during(stage, "kill -9 a decoder in the middle of a file", act, n_scans=0, others=[call])


def _stopper(name: str) -> Callable[[Stage], Awaitable[Row]]:
    async def stop(stage: Stage) -> Row:
        def act() -> None:
            process = _process(stage.server, name)
            process.suspend()
            asyncio.get_running_loop().call_later(PAUSE_S, _resume, process)

        return await _during(stage, f"`{name}` stopped for {PAUSE_S:g} s", act)

    return stop


async def alternating(stage: Stage) -> Row:
    """One command that scans good and bad files in turn, again and again: streams that end in an error.

    Those ended a Triton that clients reached themselves: https://github.com/triton-inference-server/server/issues/8034
    """
    with tempfile.TemporaryDirectory() as folder:
        good, bad = Path(folder, "good.wav"), Path(folder, "bad.mp3")
        good.write_bytes(wave_bytes(np.zeros((1, 8_000), np.float32), 16_000))  # of which there are many: no words
        bad.write_bytes(_BAD)
        command = [sys.executable, "-m", "aircheck_client.cli", "scan", "--json", "--url", stage.server.url]
        right = await stage.client.scan(good, timeout_s=LOST_AFTER_S)
        before = _process(stage.server, "tritonserver")
        outcomes: list[Outcome] = []
        for _ in range(ROUNDS):
            outcomes += await _scanned([*command, *[str(good), str(bad)] * PAIRS], right)
        ended_s = time.monotonic()
        async with _watched(stage) as health:
            recovered_s = await _recovered(stage, health, ended_s)
        is_same = _process(stage.server, "tritonserver") == before
    note = f"the same Triton {'serves' if is_same else 'has ended'}"
    return Row.of(f"{PAIRS} good and {PAIRS} bad files in turn, {ROUNDS} times", outcomes, None, recovered_s, note)


async def _scanned(command: list[str], right: Verdict) -> list[Outcome]:
    """What became of the files of a command, by its standard streams; `right`: the verdict on the good ones."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    printed, told = await process.communicate()
    are_right = [
        content(Verdict.model_validate(json.loads(line)["verdict"])) == content(right) for line in printed.splitlines()
    ]
    refused = [line for line in told.splitlines() if b"not a known audio file" in line]
    n_lost = 2 * PAIRS - len(are_right) - len(refused)
    return [
        *(Outcome("answered") if one else Outcome("lost", "wrong") for one in are_right),
        *[Outcome("error", "InvalidAudioError")] * len(refused),
        *[Outcome("lost", "no answer")] * n_lost,
    ]


async def overload(stage: Stage) -> Row:
    """Ten times the clips that the server can check, each with a deadline; then a caller who comes afterwards."""
    begun_s = time.monotonic()
    await asyncio.gather(*(stage.requests.clip(index) for index in range(2 * IN_FLIGHT)))
    rate = 2 * IN_FLIGHT / (time.monotonic() - begun_s)
    n = int(OVERLOAD * rate * OVERLOAD_S)

    async def one(index: int) -> Outcome:
        await asyncio.sleep(index / n * OVERLOAD_S)
        return await stage.requests.clip(index, PATIENCE_S)

    async with _watched(stage) as health:
        outcomes = await asyncio.gather(*(one(index) for index in range(n)))
        ended_s = time.monotonic()
        recovered_s = await _recovered(stage, health, ended_s)
    waits_s = sorted(outcome.took_s for outcome in outcomes if outcome.kind == "answered")
    refusals_s = sorted(outcome.took_s for outcome in outcomes if outcome.kind == "error")
    note = f"{rate:.1f} clips a second can be checked; a deadline of {PATIENCE_S:g} s each; counted from the last one"
    if waits_s:
        note += f"; answered after {_median(waits_s):.1f} s (median)"
    if refusals_s:
        note += f", refused after {_median(refusals_s):.2f} s"
    return Row.of(f"{OVERLOAD} times overload for {OVERLOAD_S:g} s", outcomes, None, recovered_s, note)


async def idle_connections(stage: Stage) -> Row:
    """Connections that ask for nothing: half never say a word, half have asked for health once."""
    host, _, port = stage.server.url.rpartition(":")
    silent = [await asyncio.open_connection(host, int(port)) for _ in range(IDLE // 2)]
    clients = [_fresh_client(stage, index) for index in range(IDLE // 2)]
    try:
        await asyncio.gather(*(client.ready() for client in clients))
        return await _during(stage, f"{IDLE} idle connections", lambda: None)
    finally:
        for _, writer in silent:
            writer.close()
        await asyncio.gather(*(client.close() for client in clients))


async def slow_callers(stage: Stage) -> Row:
    """Callers who read a verdict every two seconds, or send 4 kB a second."""

    async def read_slowly() -> None:
        async for _ in stage.client.stream(stage.recording, timeout_s=LOST_AFTER_S):
            await asyncio.sleep(2.0)

    async def write_slowly() -> None:
        await stage.client.scan(_SlowFile(stage.recording), timeout_s=LOST_AFTER_S)

    slow = [asyncio.create_task(one()) for one in (read_slowly, write_slowly) for _ in range(SLOW)]
    await asyncio.sleep(2.0)
    row = await _during(stage, f"{SLOW} slow readers and {SLOW} slow writers", lambda: None)
    for task in slow:
        task.cancel()
    await asyncio.gather(*slow, return_exceptions=True)
    return row


async def rude_callers(stage: Stage) -> Row:
    """Callers who cancel, disconnect, or have 50 ms, at random moments."""

    async def rude(index: int) -> None:
        await asyncio.sleep(_random.uniform(0, 10))
        if index % 3 == 0:
            await stage.requests.clip(index, RUDE_DEADLINE_S)
            return
        own = _fresh_client(stage, index)
        call = asyncio.create_task(own.scan(stage.recording) if index % 2 else own.scan_clip(stage.clip))
        await asyncio.sleep(_random.uniform(0, 2))
        if index % 3 == 1:
            call.cancel()
        await own.close()
        await asyncio.gather(call, return_exceptions=True)

    crowd = [asyncio.create_task(rude(index)) for index in range(RUDE)]
    row = await _during(
        stage, f"{RUDE} callers that disconnect, cancel or have {RUDE_DEADLINE_S * 1000:g} ms", lambda: None
    )
    await asyncio.gather(*crowd)
    return row


async def full_shared_memory(stage: Stage) -> Row:
    """No byte left in /dev/shm, a small one of this benchmark's own, for five seconds."""
    return await _during(stage, "/dev/shm full for 5 s", lambda: _fill(Path("/dev/shm"), 5.0), lead_s=-0.2)


async def full_spool(stage: Stage) -> Row:
    """No byte left where uploads are kept, for five seconds; recordings come as well as clips."""
    spool = stage.server.settings.spool_dir
    assert spool is not None
    return await _during(stage, "the spool's disk full for 5 s", lambda: _fill(spool, 5.0), n_scans=3, lead_s=-0.2)


async def terminate(stage: Stage) -> Row:
    """SIGTERM: what is in flight is answered; who comes later is refused, not left waiting."""
    calls = _calls(stage, IN_FLIGHT, 1)
    await asyncio.sleep(1.0)
    begun_s = time.monotonic()
    os.kill(stage.server.pid, signal.SIGTERM)
    await asyncio.sleep(0.3)
    late = await asyncio.gather(*(stage.requests.clip(index, 10.0) for index in range(4)))
    outcomes = await asyncio.gather(*calls)
    status = await asyncio.to_thread(stage.server.wait)
    note = f"4 who came later: {', '.join(sorted({one.what or one.kind for one in late}))}; exit status {status}"
    return Row.of("SIGTERM", outcomes, None, time.monotonic() - begun_s, note + "; the time is that of the exit")


async def _during(
    stage: Stage,
    fault: str,
    act: Callable[[], object],
    n_scans: int = 1,
    lead_s: float = 1.0,
    others: Sequence[asyncio.Task[Outcome]] = (),
) -> Row:
    """Acts `lead_s` after the requests were sent (before, if negative), and waits for what becomes of them.

    others : requests that are in flight already
    """
    async with _watched(stage) as health:
        calls = _calls(stage, IN_FLIGHT, n_scans) if lead_s >= 0 else []
        await asyncio.sleep(max(0.0, lead_s))
        begun_s = time.monotonic()
        act()
        if lead_s < 0:
            await asyncio.sleep(-lead_s)
            calls = _calls(stage, IN_FLIGHT, n_scans)
        recovered = asyncio.create_task(_recovered(stage, health, begun_s))
        outcomes = await asyncio.gather(*calls, *others)
        noticed_s = None if health.unhealthy_at_s is None else health.unhealthy_at_s - begun_s
        return Row.of(fault, outcomes, noticed_s, await recovered)


def _calls(stage: Stage, n_clips: int, n_scans: int) -> list[asyncio.Task[Outcome]]:
    scans = [asyncio.create_task(stage.requests.scan()) for _ in range(n_scans)]
    return scans + [asyncio.create_task(stage.requests.clip(index)) for index in range(n_clips)]


@asynccontextmanager
async def _watched(stage: Stage) -> AsyncIterator[HealthWatch]:
    health = HealthWatch(stage.client)
    task = asyncio.create_task(health.run())
    try:
        yield health
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _recovered(stage: Stage, health: HealthWatch, begun_s: float) -> float | None:
    """Seconds to the first right answer to a request sent after the fault while health is SERVING."""
    await asyncio.sleep(0.5)  # a fault may take that long to show
    while time.monotonic() - begun_s < _RECOVERY_TIMEOUT_S:
        if health.healthy_at_s is not None:
            outcome = await stage.requests.clip(0, _RECOVERY_TIMEOUT_S)
            if outcome.kind == "answered":
                return time.monotonic() - begun_s
        await asyncio.sleep(0.1)
    return None


def _process(server: Server, name: str) -> psutil.Process:
    """A process of the server: a model's, Triton, the reaper between it and the gateway, or the decoders' zygote."""
    gateway = psutil.Process(server.pid)
    triton = next(one for one in gateway.children(recursive=True) if one.name() == "tritonserver")
    if name == "tritonserver":
        return triton
    reaper = triton.parent()
    if name == "reaper":
        assert reaper is not None
        return reaper
    if name == "zygote":
        return next(one for one in gateway.children() if one != reaper)
    return next(one for one in triton.children() if any(f"/{name}/1/model.py" in part for part in one.cmdline()))


def _decoder_at_work(server: Server) -> psutil.Process | None:
    """The process that has an upload open; only one recording may be under way."""
    for process in _process(server, "zygote").children():
        with contextlib.suppress(OSError):
            files = Path(f"/proc/{process.pid}/fd")
            if any("/aircheck-" in os.readlink(file) for file in files.iterdir()):
                return process
    return None


def _resume(process: psutil.Process) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.resume()


def _fill(folder: Path, seconds: float) -> None:
    """Takes all the room of a file system, and gives it back after a while."""
    ballast = folder / "aircheck_ballast"
    with open(ballast, "wb") as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(2**16))
            file.flush()
    asyncio.get_running_loop().call_later(seconds, ballast.unlink)


def _fresh_client(stage: Stage, index: int) -> AsyncAircheckClient:
    """On a connection of its own: gRPC shares one between channels of equal options."""
    return AsyncAircheckClient(stage.server.url, retry=Retry(attempts=1, first_wait_s=0.2 + index * 1e-6))


class _SlowFile(io.BytesIO):
    """A file of which 4 kB can be read a second."""

    def read(self, size: int | None = -1, /) -> bytes:
        time.sleep(1.0)
        return super().read(4096)


class _HeldFile(io.BytesIO):
    """A file whose second half comes when `go_on` is set."""

    def __init__(self, data: bytes):
        super().__init__(data)
        self.go_on, self._half = threading.Event(), len(data) // 2

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() < self._half:
            return super().read(min(size or self._half, self._half - self.tell()))
        self.go_on.wait(LOST_AFTER_S)
        return super().read(size)


def _median(ordered: list[float]) -> float:
    return ordered[len(ordered) // 2]
