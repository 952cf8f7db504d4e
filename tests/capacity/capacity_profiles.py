"""Profiles of a made-up machine."""

from aircheck.capacity.objective import Objective
from aircheck.capacity.profile import Knee, Profile
from aircheck.capacity.steps import Step

SATURATED = 20.0


def step(loop="open", users=0, offered=10.0, p95=4.0, missed="", **fields):
    values = {
        "loop": loop,
        "users": users,
        "seed": 0,
        "seconds": 60.0,
        "calls_per_s": offered / 30,
        "offered": offered,
        "achieved": offered,
        "goodput": offered,
        "calls": int(2 * offered),
        "answered": int(2 * offered),
        "refused": 0,
        "errors": {},
        "late_starts": 0,
        "latencies": {"p50": p95 / 2, "p95": p95, "p99": p95},
        "objective_s": p95,
        "growth": 0.0,
        "max_waiting": 0.0,
        "in_flight": 4.0,
        "turn_ms": 1.0,
        "stages": {},
        "cpu_use": 0.5,
        "gpu_use": None,
        "missed": missed,
    }
    return Step(**{**values, **fields})


def profile(knee=16.0, passes=(16.0, 16.0), stable=True):
    closed = tuple(
        step("closed", users, offered=SATURATED * min(1, users / 4), p95=30 / SATURATED * max(users, 4))
        for users in (1, 2, 4, 8)
    )
    return Profile(
        conditions={"cpu": "a made-up one"},
        objective=Objective(latency_s=10),
        lengths="30",
        mean_clip_s=30.0,
        in_flight=8,
        knee=Knee(
            load=knee,
            passes=passes,
            is_stable=stable,
            saturated=SATURATED,
            stage="whisper",
            stage_why="80% of the CPU time",
        ),
        closed=closed,
        open=(step(offered=10), step(offered=16, p95=8), step(offered=18, p95=14, missed="p95 14.0 s")),
        agreement=(),
    )
