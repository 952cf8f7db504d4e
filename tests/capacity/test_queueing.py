"""The simulation against what queueing theory has closed forms for."""

import numpy as np
import pytest
from capacity_profiles import SATURATED, profile

from aircheck.capacity.queueing import ServerModel, simulate

WORK_S = 30.0  # at a speed of 30 a window takes 1 s


def poisson(rate, number, seed=1):
    return np.sort(np.random.default_rng(seed).uniform(0, number / rate, number)), np.full(number, WORK_S)


def test_one_at_a_time_is_m_d_1_pollaczek_khinchine():
    found = simulate(ServerModel((WORK_S,), (1.0,)), *poisson(0.7, 60_000))
    assert found.latencies_s.mean() == pytest.approx(1 + 0.7 / (2 * (1 - 0.7)), rel=0.03)


def test_all_at_once_is_processor_sharing_whatever_the_work_is():
    for factors in ((1.0,), (0.1, 1.9)):  # its mean does not depend on how works differ (Kleinrock 1976, section 4.4)
        found = simulate(ServerModel((WORK_S,) * 200, factors), *poisson(0.7, 60_000))
        assert found.latencies_s.mean() == pytest.approx(1 / (1 - 0.7), rel=0.05)


def test_so_many_servers_that_nobody_waits_take_the_time_of_the_work():
    found = simulate(ServerModel(tuple(WORK_S * n for n in range(1, 101)), (1.0,)), *poisson(10, 5000))
    assert found.latencies_s == pytest.approx(np.ones(5000), rel=1e-6)


def test_two_servers_carry_twice_as_much_and_turns_wait_less_than_chance():
    model = ServerModel((WORK_S,), (1.0,))
    one = simulate(model, *poisson(0.7, 40_000)).latencies_s.mean()
    turns, chance = (
        simulate(model, *poisson(1.4, 40_000), servers=2, balancing=kind).latencies_s.mean()
        for kind in ("round_robin", "random")
    )
    assert chance == pytest.approx(one, rel=0.05)  # a Poisson stream split by chance is two of them
    assert turns < 0.9 * chance


def test_an_overloaded_server_is_left_with_a_queue():
    times_s, works = poisson(1.5, 3000)
    found = simulate(ServerModel((WORK_S,), (1.0,)), times_s, works)
    assert found.left == pytest.approx(1000, rel=0.1)


def test_the_same_seed_gives_the_same_latencies():
    model = ServerModel((WORK_S,), (0.5, 1.5))
    first, again, other = (simulate(model, *poisson(0.5, 200), seed=seed).latencies_s for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_it_is_calibrated_by_the_closed_loop():
    speeds = ServerModel.of_profile(profile()).speeds
    assert speeds == pytest.approx([SATURATED * min(1, n / 4) for n in range(1, 9)])
