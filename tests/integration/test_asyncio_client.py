"""The asyncio client against a real server: the same answers, and work that ends when it is given up."""

from __future__ import annotations

import asyncio
import time
import urllib.request

import pytest

from aircheck_client import ScanCancelledError
from support.audio import tone, wav
from support.requests import asyncio_client, kept_findings, long_recording, threat
from support.sources import Interrupted

GIVEN_UP_WITHIN_S = 30.0
"""For a slow machine, and far less than the scan takes; `benchmarks.faults` measures the contract's two seconds."""


def test_asyncio_has_the_same_verbs_with_the_same_answers(server, client):
    findings = kept_findings()

    async def scenario():
        async with asyncio_client(server) as other:
            assert await other.ready()
            return {
                "info": await other.info(),
                "scan": await other.scan(threat()),
                "stream": [verdict async for verdict in other.stream(wav(tone(1.0)))],
                "scan_clip": await other.scan_clip(threat()),
                "decide": await other.decide(*findings, 5.0),
            }

    assert asyncio.run(scenario()) == {
        "info": client.info(),
        "scan": client.scan(threat()),
        "stream": list(client.stream(wav(tone(1.0)))),
        "scan_clip": client.scan_clip(threat()),
        "decide": client.decide(*findings, 5.0),
    }


def test_several_scans_run_on_one_connection(server):
    lengths_s = [0.5, 1.0, 1.5, 2.0]

    async def scenario():
        async with asyncio_client(server) as client:
            return await asyncio.gather(*(client.scan(wav(tone(seconds))) for seconds in lengths_s))

    assert [verdict.duration_s for verdict in asyncio.run(scenario())] == pytest.approx(lengths_s)


def in_flight(server) -> int:
    with urllib.request.urlopen(server.metrics_url) as answer:
        lines = answer.read().decode().splitlines()
    return int(float(next(line for line in lines if line.startswith("aircheck_gateway_windows_in_flight")).split()[-1]))


@pytest.mark.parametrize("way", ["cancel", "break"])
def test_the_work_of_a_scan_that_is_given_up_ends(server, models, way):
    data = long_recording() * 40  # an hour, of 120 windows
    before, _ = models.statistics("audio_decode")

    async def read(client):
        async for _ in client.stream(data):
            if way == "break":
                return
            await asyncio.sleep(60)

    async def scenario():
        async with asyncio_client(server) as client:
            task = asyncio.create_task(read(client))
            while not await asyncio.to_thread(in_flight, server):
                await asyncio.sleep(0.05)
            if way == "cancel":
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            else:
                await task
            given_up_at = time.monotonic()
            while await asyncio.to_thread(in_flight, server):
                assert time.monotonic() - given_up_at < GIVEN_UP_WITHIN_S
                await asyncio.sleep(0.05)

    asyncio.run(scenario())
    assert models.statistics("audio_decode")[0] - before < 100


def test_closing_the_asyncio_client_is_no_cancelled_task(server):
    async def scenario():
        client = asyncio_client(server)
        source = Interrupted(long_recording())
        stream = client.stream(source)
        await anext(stream)
        await client.close()
        with pytest.raises(ScanCancelledError):
            await anext(stream)
        source.go_on.set()
        for call in (client.info(), client.scan(threat()), client.scan_clip(threat())):
            with pytest.raises(ScanCancelledError):
                await call

    asyncio.run(scenario())
