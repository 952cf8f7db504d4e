"""Recordings through real decoder processes."""

from __future__ import annotations

import asyncio
import io
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import pytest
from prometheus_client import REGISTRY

from aircheck.gateway.decoding import DecoderLostError, DecoderPool, Decoding, SandboxLimits, Spool, SpoolQuota
from benchmarks.sound_files import sound_file
from preprocessing.container import Limits
from preprocessing.errors import AudioError, LimitExceededError, UnsupportedFormatError
from preprocessing.windows import Episode
from support.arriving import decoded, uploading
from support.audio import encode, silence, tone, wav
from support.cases import CASES
from support.formats import every_format

LIMITS = Limits(max_bytes=2**28, max_duration_s=3600, max_channels=8, max_sample_rate_hz=192_000)
SOUND = (0.3 * np.random.default_rng(1).standard_normal(16_000 * 9)).astype(np.float32)
MADE = every_format(SOUND)
WAIT_S = 120.0


@dataclass
class Pool:
    """A pool that the tests of this module share, on a loop of their own."""

    runner: asyncio.Runner
    pool: DecoderPool
    quota: SpoolQuota

    def run(self, scenario: Callable[[], Awaitable[None]]) -> None:
        async def main() -> None:
            async with asyncio.timeout(WAIT_S):
                await scenario()
            assert self.quota.used_bytes == 0

        self.runner.run(main())


def pool_of(folder: Path, limits: SandboxLimits, max_processes: int = 3) -> Iterator[Pool]:
    with asyncio.Runner() as runner:
        pool = DecoderPool(limits, max_processes)
        runner.run(pool.__aenter__())
        yield Pool(runner, pool, SpoolQuota(folder, 2**28, 2**28))
        runner.run(pool.__aexit__())


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Iterator[Pool]:
    yield from pool_of(tmp_path_factory.mktemp("spool"), SandboxLimits())


@pytest.fixture
def strict(tmp_path) -> Iterator[Pool]:
    """A pool with limits that a recording of ordinary length can exceed."""
    limits = SandboxLimits(
        memory_bytes=96 * 2**20, cpu_base_s=1.0, cpu_s_per_mib=0.0, cpu_s_per_audio_s=0.0, stall_s=2.0, max_recordings=2
    )
    yield from pool_of(tmp_path, limits)


def workers(pool: DecoderPool) -> list[int]:
    """The ids of all decoder processes."""
    zygote = pool._zygote._process.pid
    return [int(pid) for pid in Path(f"/proc/{zygote}/task/{zygote}/children").read_text().split()]


def status(pid: int, name: str) -> str:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.split(":")[1].strip() for line in lines if line.startswith(f"{name}:"))


@pytest.mark.parametrize("name", MADE)
def test_a_file_in_pieces_gives_the_windows_of_the_whole_file(shared, name):
    data = MADE[name]()
    episode = Episode(data, LIMITS)
    expected = [(window.start_s, window.wav()) for window in episode.windows(4.0)]

    async def scenario() -> None:
        found = await decoded(shared.pool, shared.quota, data, LIMITS, 4.0, seed=len(data))
        assert [(window.start_s, window.wav) for window in found.windows] == expected
        assert found.summary.warnings == episode.warnings()
        assert found.summary.undecoded_s == episode.undecoded_s()
        assert found.summary.duration_s == episode.info.duration_s
        info = found.recording
        assert (info.container, info.codec, info.sample_rate_hz, info.channels) == (
            episode.info.container,
            episode.info.codec,
            episode.info.sample_rate_hz,
            episode.info.channels,
        )

    shared.run(scenario)


@pytest.mark.parametrize("name", ["drm.m4a", "moov_missing.m4a", "crash_bad.mp3"])
def test_bad_audio_is_the_error_it_is_in_this_process(shared, name):
    path = CASES / name
    if not path.exists():
        pytest.skip("the reported recordings are not here: ../shared/cases lies beside the checkout in CI")
    with pytest.raises(AudioError) as expected:
        Episode(path.read_bytes(), LIMITS)

    async def scenario() -> None:
        with pytest.raises(type(expected.value), match=f"^{re.escape(str(expected.value))}$"):
            await decoded(shared.pool, shared.quota, path.read_bytes(), LIMITS)

    shared.run(scenario)


def test_tags_are_known_at_the_start_or_at_the_end(shared):
    data = sound_file(tone(3.0), "flac", {"title": "Night Train", "artist": "A. Reader"})

    async def scenario() -> None:
        found = await decoded(shared.pool, shared.quota, data, LIMITS)
        assert (found.recording.title, found.recording.artist) == ("Night Train", "A. Reader")
        assert found.summary.recording.title == "Night Train"

    shared.run(scenario)


def test_a_track_of_any_kind_is_known_to_a_process_that_can_load_nothing(shared):
    data = sound_file(SOUND, "vob")
    subtitle = b"\x81\x00\x00\x20" + bytes(64)  # a private stream, as DVDs have for pictures of text
    with_subtitles = data[:14] + b"\0\0\1\xbd" + len(subtitle).to_bytes(2, "big") + subtitle + data[14:]
    with av.open(io.BytesIO(with_subtitles)) as container:
        assert "subtitle" in {stream.type for stream in container.streams}

    async def scenario() -> None:
        found = await decoded(shared.pool, shared.quota, with_subtitles, LIMITS)
        assert found.recording.codec == "ac3"

    shared.run(scenario)


def test_an_error_in_the_middle_comes_after_the_windows_before_it_and_has_its_place(shared):
    limits = Limits(LIMITS.max_bytes, 20.0, LIMITS.max_channels, LIMITS.max_sample_rate_hz)
    data = encode(tone(40.0), "adts")  # states no length

    async def scenario() -> None:
        async with uploading(data, shared.quota) as spool, shared.pool.decode(spool, limits, 4.0) as decoding:
            seen: list[float] = []
            with pytest.raises(LimitExceededError, match="20 s"):
                await take_all(decoding, seen)
            assert len(seen) >= 3
            assert decoding.position_s == pytest.approx(20.0, abs=0.3)

    shared.run(scenario)


def test_a_slow_reader_stops_the_decoder_and_so_the_upload(shared):
    data = wav(np.tile(SOUND, 20), rate_hz=16_000, channels=4)  # 23 MB, 180 s

    async def scenario() -> None:
        async with uploading(data, shared.quota) as spool, shared.pool.decode(spool, LIMITS, 4.0) as decoding:
            windows = decoding.windows()
            await anext(windows)
            await settled(lambda: decoding._windows.qsize() == 2)
            await settled(lambda: not spool.is_complete)
            assert spool.size < 12 * 2**20
            assert len([window async for window in windows]) > 40

    shared.run(scenario)


async def take_all(decoding: Decoding, starts_s: list[float]) -> None:
    """Reads to the end, or the error, noting where each window begins."""
    async for window in decoding.windows():
        starts_s.append(window.start_s)


async def settled(holds: Callable[[], bool]) -> None:
    """Waits until it holds, and then that it still does a while later."""
    while not holds():
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.5)
    assert holds()


def test_a_slow_client_is_no_stall(strict):
    async def scenario() -> None:
        data = encode(tone(6.0), "flac")
        spool = Spool.create(strict.quota)
        try:
            await spool.append(data[:50_000])

            async def later() -> None:
                await asyncio.sleep(3.0)  # longer than a stall
                await spool.append(data[50_000:])
                spool.complete()

            task = asyncio.create_task(later())
            async with strict.pool.decode(spool, LIMITS, 4.0) as decoding:
                assert sum([window.duration_s async for window in decoding.windows()]) == pytest.approx(6.0, abs=0.05)
            await task
        finally:
            spool.close()

    strict.run(scenario)


def test_a_reader_that_takes_its_time_is_no_stall(strict):
    async def scenario() -> None:
        data = encode(tone(20.0), "wav-16")
        async with uploading(data, strict.quota) as spool, strict.pool.decode(spool, LIMITS, 4.0) as decoding:
            windows = decoding.windows()
            await anext(windows)
            await asyncio.sleep(3.0)
            assert len([window async for window in windows]) >= 4

    strict.run(scenario)


def test_a_recording_that_takes_too_much_cpu_costs_only_itself(strict):
    restarts = REGISTRY.get_sample_value("aircheck_gateway_sandbox_restarts_total")

    async def scenario() -> None:
        with pytest.raises(DecoderLostError, match="CPU time"):
            await decoded(strict.pool, strict.quota, wav(np.tile(SOUND, 300)), LIMITS)
        await still_decodes(strict)

    strict.run(scenario)
    assert strict.pool.lost == 1
    assert REGISTRY.get_sample_value("aircheck_gateway_sandbox_restarts_total") == restarts + 1


def test_a_recording_that_takes_too_much_memory_costs_only_itself(tmp_path):
    for pool in pool_of(tmp_path, SandboxLimits(memory_bytes=6 * 2**20)):

        async def scenario(pool: Pool = pool) -> None:
            with pytest.raises(DecoderLostError, match="memory"):
                await decoded(pool.pool, pool.quota, wav(np.tile(SOUND, 20)), LIMITS, 30.0)
            await still_decodes(pool)

        pool.run(scenario)


def test_a_header_that_asks_for_more_memory_than_there_is_is_an_error(strict):
    limits = Limits(2**30, 36_000, 8, 192_000)

    async def scenario() -> None:
        with pytest.raises(AudioError):
            await decoded(strict.pool, strict.quota, with_huge_tag(encode(tone(2.0), "flac")), limits)
        await still_decodes(strict)

    strict.run(scenario)


def with_huge_tag(data: bytes) -> bytes:
    """An ID3 tag before the sound, with a picture of 200 MB."""
    size = 200 * 2**20
    frame = b"APIC" + size.to_bytes(4, "big") + bytes(2) + b"\0image/png\0\3\0" + bytes(size - 13)
    length = len(frame)
    tag = b"ID3\3\0\0" + bytes((length >> shift) & 0x7F for shift in (21, 14, 7, 0))
    return tag + frame + data


def test_a_process_that_makes_no_progress_is_killed(strict):
    async def scenario() -> None:
        data = wav(np.tile(SOUND, 3))
        async with uploading(data, strict.quota) as spool:
            async with strict.pool.decode(spool, LIMITS, 4.0) as decoding:
                os.kill(decoding.pid, signal.SIGSTOP)
                with pytest.raises(DecoderLostError, match="no progress"):
                    await take_all(decoding, [])
            assert decoding.pid not in await alive(strict.pool, decoding.pid)
        await still_decodes(strict)

    strict.run(scenario)


async def alive(pool: DecoderPool, without: int) -> list[int]:
    """The decoder processes, once `without` is not among them, or after a while."""
    for _ in range(200):
        if without not in (found := workers(pool)):
            return found
        await asyncio.sleep(0.02)
    return found


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_process_that_dies_costs_only_its_recording(shared, number):
    async def scenario() -> None:
        data = wav(np.tile(SOUND, 20))
        async with uploading(data, shared.quota) as spool, shared.pool.decode(spool, LIMITS, 4.0) as decoding:
            await anext(decoding.windows())
            os.kill(decoding.pid, number)
            with pytest.raises(DecoderLostError, match=signal.Signals(number).name):
                await take_all(decoding, [])
        await still_decodes(shared)

    shared.run(scenario)


def test_the_process_that_all_are_forked_from_is_started_again(strict):
    async def scenario() -> None:
        before = workers(strict.pool)
        os.kill(strict.pool._zygote._process.pid, signal.SIGKILL)
        while strict.pool._zygote.is_alive:
            await asyncio.sleep(0.01)
        await still_decodes(strict)
        assert not set(before) & set(workers(strict.pool))
        for pid in before:
            assert not Path(f"/proc/{pid}").exists() or status(pid, "State").startswith("Z")

    strict.run(scenario)


async def still_decodes(pool: Pool) -> None:
    found = await decoded(pool.pool, pool.quota, encode(tone(2.0), "wav-16"), LIMITS)
    assert sum(window.duration_s for window in found.windows) == pytest.approx(2.0)


def test_a_scan_that_is_given_up_leaves_no_process_at_work(shared):
    async def scenario() -> None:
        data = wav(np.tile(SOUND, 20))
        async with uploading(data, shared.quota) as spool:
            async with shared.pool.decode(spool, LIMITS, 4.0) as decoding:
                await anext(decoding.windows())
                pid = decoding.pid
            assert pid not in await alive(shared.pool, pid)
        assert shared.pool.lost == lost

    lost = shared.pool.lost
    shared.run(scenario)


def test_a_cancelled_scan_leaves_the_pool_whole(shared):
    async def scenario() -> None:
        for delay_s in (0.0, 0.005, 0.02, 0.05, 0.1):
            task = asyncio.create_task(decoded(shared.pool, shared.quota, wav(np.tile(SOUND, 20)), LIMITS))
            await asyncio.sleep(delay_s)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await asyncio.gather(*(still_decodes(shared) for _ in range(6)))

    shared.run(scenario)


def test_a_process_is_replaced_after_its_last_recording(strict):
    async def scenario() -> None:
        seen = set()
        for _ in range(6):
            data = wav(silence(1.0))
            async with uploading(data, strict.quota) as spool, strict.pool.decode(spool, LIMITS, 4.0) as decoding:
                seen.add(decoding.pid)
                assert [window.start_s async for window in decoding.windows()] == [0.0]
        assert len(seen) >= 3

    strict.run(scenario)


def test_decoder_processes_are_confined_and_know_no_secrets(shared):
    async def scenario() -> None:
        await still_decodes(shared)
        for pid in workers(shared.pool):
            assert (status(pid, "Seccomp"), status(pid, "NoNewPrivs"), status(pid, "Threads")) == ("2", "1", "1")

    os.environ["AIRCHECK_TOKEN"] = "secret"
    try:
        shared.run(scenario)
        environment = Path(f"/proc/{shared.pool._zygote._process.pid}/environ").read_bytes()
    finally:
        del os.environ["AIRCHECK_TOKEN"]
    assert b"AIRCHECK" not in environment


def test_no_process_outlives_a_gateway_that_is_killed(tmp_path):
    program = (
        "import asyncio, sys, time\n"
        "from aircheck.gateway.decoding import DecoderPool, SandboxLimits\n"
        "from pathlib import Path\n"
        "async def main():\n"
        "    async with DecoderPool(SandboxLimits(), 2) as pool:\n"
        "        zygote = pool._zygote._process.pid\n"
        "        children = Path(f'/proc/{zygote}/task/{zygote}/children').read_text()\n"
        "        print(zygote, children, flush=True)\n"
        "        await asyncio.sleep(600)\n"
        "asyncio.run(main())\n"
    )
    gateway = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    try:
        pids = [int(pid) for pid in gateway.stdout.readline().split()]
        assert len(pids) >= 2
    finally:
        gateway.kill()
        gateway.communicate()
    deadline_s = time.monotonic() + 30
    while any(is_running(pid) for pid in pids) and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert not any(is_running(pid) for pid in pids)


def is_running(pid: int) -> bool:
    try:
        return not status(pid, "State").startswith("Z")
    except FileNotFoundError:
        return False


def test_nothing_but_audio_is_refused_with_what_it_is(shared):
    async def scenario() -> None:
        with pytest.raises(UnsupportedFormatError, match="PDF"):
            await decoded(shared.pool, shared.quota, b"%PDF-1.7" + bytes(2**20), LIMITS)
        with pytest.raises(AudioError, match="0 bytes"):
            await decoded(shared.pool, shared.quota, b"", LIMITS)

    shared.run(scenario)
