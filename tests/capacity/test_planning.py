"""Hours a month to machines and money: sums that a planner can redo by hand, and a simulation that agrees."""

import pytest
from capacity_profiles import profile

from aircheck.capacity.entry import write
from aircheck.capacity.errors import CapacityError
from aircheck.capacity.planning import Assumptions, backlog, plan
from aircheck.capacity.profile import Profile
from aircheck.capacity.report import page, summary
from aircheck.reports import MarkdownError


def test_a_plan_is_demand_over_what_a_machine_carries_with_headroom_and_a_spare():
    made = plan(profile(knee=16.0), "2000000h/month", Assumptions(headroom=0.25, spare=1, peak=2.0, price=2.49))
    mean = 2_000_000 / 730.5
    assert made.audio_hours_per_hour == pytest.approx(mean, abs=0.01)
    assert made.audio_hours_per_machine_hour == 12.0
    assert made.machines == 458  # ceil(2 * 2737.85 / 12) = 457, and a spare
    assert made.cost_per_month == pytest.approx(458 * 730.5 * 2.49, abs=0.01)
    assert made.cost_per_1000_hours == pytest.approx(458 * 2.49 / mean * 1000, abs=0.01)
    assert made.cost_per_1000_hours_scaled == pytest.approx((mean / 12 + 1) * 2.49 / mean * 1000, rel=0.001)


def test_the_simulated_fleet_is_slower_with_a_replica_lost_and_in_a_burst():
    made = plan(profile(knee=16.0), "600h/day", Assumptions(headroom=0.2, peak=1.0))
    assert made.machines == 3
    assert made.simulated_s < made.simulated_lost_s
    assert made.simulated_s < made.simulated_burst_s


def test_a_backlog_counts_on_what_a_machine_takes_at_most():
    made = backlog(profile(), "10000h in 10d", Assumptions(headroom=0.5, price=2.0))
    assert made.machines == 5  # 10000 / 240 h / (20 * 0.5)
    assert made.cost == 2000.0
    assert made.cost_per_1000_hours == 200.0


@pytest.mark.parametrize("demand", ["2000000h", "many h/month", "0h/day", "10h/fortnight"])
def test_a_demand_that_is_none_is_an_error(demand):
    with pytest.raises(CapacityError):
        plan(profile(), demand, Assumptions())


def test_a_machine_that_keeps_no_objective_is_no_ground_for_a_plan():
    with pytest.raises(CapacityError, match="keeps its objective at no load"):
        plan(profile(knee=0.0), "100h/day", Assumptions())


def test_a_profile_is_read_as_it_was_written_and_an_unreadable_one_has_a_remedy(tmp_path):
    path = tmp_path / "capacity.json"
    profile().write(path)
    assert Profile.read(path) == profile()
    path.write_text('{"version": 1}')
    with pytest.raises(CapacityError, match="measure again"):
        Profile.read(path)
    with pytest.raises(CapacityError, match="aircheck capacity"):
        Profile.read(tmp_path / "none.json")


def test_the_page_says_what_was_found_and_when_it_is_not_to_be_relied_on():
    shaky = profile(passes=(10.0, 16.0), stable=False)
    assert "NOT stable" in summary(shaky)
    text = page(shaky, [plan(shaky, "600h/day", Assumptions())])
    assert "<svg" in text
    assert "600h/day" in text
    assert "p95 14.0 s" in text  # the step that missed
    assert "<b>" not in page(Profile(**{**dict(shaky), "conditions": {"cpu": "<b>"}}))


def test_a_measurement_is_written_with_plans_and_into_a_readme(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- capacity: begin -->\nold\n<!-- capacity: end -->\nafter\n")
    write(profile(), Assumptions(price=1.0), tmp_path / "out", readme)
    assert Profile.read(tmp_path / "out" / "capacity.json") == profile()
    assert "2000000h/month" in (tmp_path / "out" / "capacity.html").read_text()
    assert (tmp_path / "out" / "capacity.svg").stat().st_size > 10_000
    text = readme.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "](out/capacity.svg)" in text
    assert "| 18.0 | 18.0 | 18.0 | 7.0 | 14.0 | 14.0 | 0.5 | p95 14.0 s |" in text
    with pytest.raises(MarkdownError, match="to write between"):
        write(profile(), Assumptions(), tmp_path / "out", tmp_path / "out" / "capacity.html")
