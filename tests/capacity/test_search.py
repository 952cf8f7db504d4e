"""The walk finds a knee that is there, and says when it does not stay."""

import pytest
from capacity_profiles import step

from aircheck.capacity.errors import CapacityError
from aircheck.capacity.objective import Objective
from aircheck.capacity.search import Walk, closed_loop, holds, is_stable, search
from aircheck.load.workload import Workload


def walk(carries, max_passes=5):
    """A server that keeps the objective up to `carries(seed)` audio seconds a second, and takes 20 in a closed loop."""

    def run(workload, users):
        if users:
            return step("closed", users, offered=min(20.0, 5.0 * users))
        offered = 30 * workload.rate
        return step(offered=offered, missed="" if offered <= carries(workload.seed) else "p95 99 s")

    return Walk(Workload(lengths="30"), Objective(), run, (1, 2, 4, 8), max_passes)


@pytest.mark.parametrize("knee", [6.0, 13.7, 18.0])
def test_the_knee_is_found_within_ten_percent(knee):
    own = walk(lambda seed: knee)
    found = search(own, closed_loop(own))
    assert found.saturated == 20.0
    assert found.knee == pytest.approx(knee, rel=0.1)
    assert found.is_stable
    assert len(found.knees) == 2


def test_no_load_above_what_the_closed_loop_took_counts_as_carried():
    own = walk(lambda seed: 26.0)  # a step may be too short to show that the queue grows
    assert search(own, closed_loop(own)).knee == pytest.approx(0.95 * 20.0)


def test_passes_are_repeated_until_two_in_turn_agree():
    own = walk(lambda seed: {1: 8.0, 2: 16.0, 3: 12.0}.get(seed // 1000, 13.0))
    found = search(own, closed_loop(own))
    assert len(found.knees) == 4
    assert found.knee == pytest.approx(12.5, rel=0.1)


def test_a_knee_that_does_not_stay_is_said_to_be_unstable():
    own = walk(lambda seed: 8.0 if seed // 1000 % 2 else 16.0, max_passes=3)
    assert not search(own, closed_loop(own)).is_stable
    assert not is_stable((10.0,))


def test_a_server_that_keeps_the_objective_at_no_load_has_no_knee():
    own = walk(lambda seed: 0.0)
    assert search(own, closed_loop(own)).knee == 0.0


def test_a_server_that_answers_nothing_is_an_error():
    own = walk(lambda seed: 0.0)
    mute = Walk(own.base, own.objective, lambda workload, users: step("closed", users, answered=0), (1,), 1)
    with pytest.raises(CapacityError, match="no call of the closed loop was answered"):
        closed_loop(mute)


@pytest.mark.parametrize(
    ("kept_by_seed", "held", "steps"),
    [((1, 1), True, 2), ((0, 0), False, 2), ((1, 0, 1), True, 3), ((0, 1, 0), False, 3)],
)
def test_a_gate_holds_or_not_by_two_of_at_most_three_steps(kept_by_seed, held, steps):
    own = walk(lambda seed: 100.0 if kept_by_seed[seed - 1000] else 0.0)
    found, made = holds(own, 15.0)
    assert (found, len(made)) == (held, steps)
    assert all(step.offered == 15.0 for step in made)
