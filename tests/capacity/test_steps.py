"""The figures of a load, by hand."""

from dataclasses import replace

import pytest

from aircheck.capacity.errors import CapacityError
from aircheck.capacity.objective import Objective
from aircheck.capacity.running import Measured
from aircheck.capacity.steps import queue_growth, summarise
from aircheck.load.calls import Call
from aircheck.load.server_metrics import Engine, Model, Reading
from aircheck.load.workload import Kind, Workload

LOAD = Workload(rate=1, seconds=10)


def call(index, at_s, took_s, error="", late_s=0.0):
    return Call(index, Kind.CLIP, at_s, at_s + late_s, at_s + took_s, 30.0, 1000, error=error)


def reading(at_s, waiting, windows, turn_s, whisper):
    return Reading(at_s, {"whisper": whisper}, 30 * windows, windows, turn_s, waiting, 4.0, None)


def test_latency_counts_from_the_intended_start_and_goodput_only_what_came_in_time():
    calls = tuple(call(index, index, 12.0 if index == 9 else 2.0, late_s=1.0) for index in range(10))
    found = summarise(LOAD, 0, Measured("locust", calls), Objective(latency_s=5))
    assert found.offered == 30.0
    assert found.achieved == pytest.approx(300 / 21, abs=0.001)  # the last answer came at 21 s
    assert found.goodput == pytest.approx(270 / 21, abs=0.001)
    assert found.latencies["p50"] == 2.0
    assert found.late_starts == 10
    assert found.missed == "p95 7.5 s"


def test_refusals_and_other_errors_are_counted_and_miss_the_objective():
    calls = (call(0, 0, 1), call(1, 1, 0.1, "OverloadedError"), call(2, 2, 1, "ServerError"))
    found = summarise(LOAD, 0, Measured("locust", calls), Objective())
    assert (found.answered, found.refused, found.errors) == (1, 1, {"OverloadedError": 1, "ServerError": 1})
    assert found.missed == "2 of 3 calls got no verdict"
    assert found.achieved == 3.0


def test_what_the_server_did_meanwhile_is_the_difference_of_its_readings():
    readings = (
        reading(0, 0, 10, 1.0, Model(10, 10, 10, 100, 1000, 1100)),
        reading(5, 7, 12, 1.5, Model(12, 12, 11, 120, 1800, 1920)),
        reading(9, 2, 20, 6.0, Model(20, 20, 15, 300, 4000, 4300)),
    )
    measured = Measured("locust", (call(0, 0, 1),), readings, cpu_s={"whisper": 3.0, "gateway": 1.0})
    found = summarise(LOAD, 0, measured, Objective())
    assert found.turn_ms == 500.0
    assert found.max_waiting == 7.0
    whisper = found.stages["whisper"]
    assert (whisper.batch, whisper.queue_ms, whisper.compute_ms, whisper.cpu_share) == (2.0, 20.0, 300.0, 0.75)


def test_whispers_batch_and_queue_are_those_of_its_engine():
    readings = tuple(
        replace(reading(at, 0, at, 0.0, Model(at, at, at, 0, 0, 0)), engine=Engine(slots, at, 0.1 * at, 0.5 * at))
        for at, slots in ((1, 2.0), (5, 4.0), (9, 6.0))
    )
    whisper = summarise(LOAD, 0, Measured("locust", (call(0, 0, 1),), readings), Objective()).stages["whisper"]
    assert (whisper.batch, whisper.queue_ms, whisper.compute_ms) == (4.0, 100.0, 500.0)


def test_a_queue_grows_by_what_the_server_does_not_keep_up_with():
    keeps_up = [call(index, index, 2.0) for index in range(60)]
    half = [call(index, index, 2.0 + index) for index in range(60)]  # it answers every other second
    assert queue_growth(keeps_up, 60) == pytest.approx(0, abs=0.02)
    assert queue_growth(half, 60) == pytest.approx(0.5, abs=0.05)
    assert queue_growth([], 60) == 0.0


@pytest.mark.parametrize("text", ["p95<8s at 15", "p95 <= 8 s at 15", "p95=8s at 15.0"])
def test_an_objective_is_read_as_people_write_it(text):
    assert Objective.parse(text) == Objective(percentile=95, latency_s=8.0, at=15.0)


@pytest.mark.parametrize("text", ["95<8s", "p95<8", "p95<0s", "fast", "p95<8s at"])
def test_what_is_no_objective_is_answered_by_an_example(text):
    with pytest.raises(CapacityError, match="as p95<8s"):
        Objective.parse(text)
