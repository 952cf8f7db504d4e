"""`aircheck capacity` as it is typed; what measures is tested with a server (tests/integration/test_capacity.py)."""

import json

import pytest
import typer
from capacity_profiles import profile
from typer.testing import CliRunner

from aircheck.commands.capacity import PROFILE, capacity

app = typer.Typer()
app.command()(capacity)


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_plan_is_answered_from_the_stored_profile_alone(tmp_path):
    profile(knee=16.0).write(tmp_path / PROFILE)
    done = run("--plan", "2000000h/month", "--backlog", "10000h in 10d", "--price", "2.49", "--out", tmp_path)
    assert done.exit_code == 0, done.output
    assert "machines: 490, each with 11.2 audio hours an hour (30% headroom), 1 to spare" in done.output
    assert "for 1,000 audio hours" in done.output
    assert "3 machines for 10 days, each with 14.0" in done.output  # 10000 h in 240 h, at 20 less 30 %
    page = (tmp_path / "plan.html").read_text()
    assert "2000000h/month" in page
    assert "10000h in 10d" in page


def test_a_plan_without_a_profile_says_how_to_get_one(tmp_path):
    done = run("--plan", "2000000h/month", "--out", tmp_path)
    assert done.exit_code == 2
    assert "measure this machine by aircheck capacity" in done.output


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        (("--gate",), "--objective 'p95<8s at 15' --gate"),
        (("--objective", "p95<8s at 15"), "--objective 'p95<8s at 15' --gate"),
        (("--objective", "quick"), "as p95<8s"),
        (("--users", "0"), "wants numbers from 1 to 1000"),
        (("--lengths", "long"), "lengths 'long'"),
        (("--url", "10.0.0.7:8001"), "--allow-host 10.0.0.7"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_is_started(arguments, remedy, tmp_path):
    done = run(*arguments, "--out", tmp_path)
    assert done.exit_code == 2
    assert remedy in done.output
    assert not list(tmp_path.iterdir())


def test_the_profile_keeps_its_units_and_version():
    stored = json.loads(profile().model_dump_json())
    assert stored["version"] == 1
    assert {"mean_clip_s", "in_flight", "knee", "closed", "open"} <= set(stored)
