"""The adaptive limit: it finds what a server takes, whatever that is."""

from __future__ import annotations

import asyncio

import pytest

from aircheck_client.catalogue.concurrency import AVERAGE_OVER, AdaptiveLimit, Bounds


def drive(limit: AdaptiveLimit, capacity: int, scans: int, took_s: float = 1.0) -> int:
    """Scans against a server that refuses the one after `capacity`; returns the refusals."""

    async def run() -> int:
        under_way = refused = 0

        async def scan() -> None:
            nonlocal under_way, refused
            async with limit:
                if under_way >= capacity:
                    refused += 1
                    limit.refused()
                    return
                under_way += 1
                await asyncio.sleep(0)
                under_way -= 1
                limit.answered(took_s, 30.0)

        await asyncio.gather(*(scan() for _ in range(scans)))
        return refused

    return asyncio.run(run())


def test_it_grows_until_a_server_refuses_and_stays_near_that():
    limit = AdaptiveLimit(Bounds(1, 4, 64))
    refused = drive(limit, capacity=10, scans=5000)
    assert 5 <= limit.limit <= 10
    assert refused < 100


def test_it_never_leaves_its_bounds():
    grown = AdaptiveLimit(Bounds(1, 4, 8))
    drive(grown, capacity=1000, scans=1000)
    assert grown.limit == 8
    shrunk = AdaptiveLimit(Bounds(2, 4, 8))
    drive(shrunk, capacity=0, scans=100)
    assert shrunk.limit == 2


def test_refusals_of_what_was_in_flight_together_count_once():
    limit = AdaptiveLimit(Bounds(1, 10, 10))
    for _ in range(10):
        limit.refused()
    assert limit.limit == 7


def test_windows_that_take_far_longer_than_before_lower_it():
    limit = AdaptiveLimit(Bounds(1, 4, 16))
    drive(limit, capacity=1000, scans=2 * AVERAGE_OVER, took_s=1.0)
    before = limit.limit
    for _ in range(10):
        limit.answered(took_s=10.0, audio_s=30.0)
    assert limit.limit < before


def test_a_long_recording_is_no_slow_one():
    limit = AdaptiveLimit(Bounds(1, 4, 16))
    drive(limit, capacity=1000, scans=2 * AVERAGE_OVER, took_s=1.0)
    before = limit.limit
    for _ in range(10):
        limit.answered(took_s=120.0, audio_s=3600.0)
    assert limit.limit >= before


def test_bounds_out_of_order_are_refused():
    with pytest.raises(ValueError, match="not in order"):
        Bounds(4, 2, 8)
