"""A machine's capacity, measured on the session's server in a few seconds: all parts, not the figures' worth."""

from aircheck.capacity.measure import Effort, Measurement
from aircheck.capacity.objective import Objective
from aircheck.capacity.running import Target
from aircheck.load.workload import Workload

LENGTH_S = 2.0


def test_a_profile_is_measured_with_both_clients_and_the_servers_metrics(server):
    told = []
    target = Target(server.url, server.metrics_url, server.pid)
    effort = Effort(step_s=3.0, max_passes=1, max_steps=1, users=(2,), compared_calls=5)
    measurement = Measurement(target, Workload(lengths=f"{LENGTH_S:g}"), Objective(latency_s=60), effort, told.append)
    measurement.warm()
    found = measurement.profile({"command": "a test"})
    (closed,), (opened,) = found.closed, found.open
    assert closed.answered == closed.calls > 0
    assert opened.answered == opened.calls > 0
    assert opened.goodput == opened.achieved > 0
    assert opened.errors == {}
    assert set(opened.stages) == {"audio_decode", "whisper", "text_safety", "acoustic_safety", "policy"}
    assert sum(stage.cpu_share for stage in opened.stages.values()) > 0.5
    assert 0 < opened.cpu_use <= 1
    assert found.knee.stage in {*opened.stages, "gateway"}
    assert {row.figure for row in found.agreement} == {"achieved", "goodput", "p50, s", "p95, s"}
    assert all(row.locust > 0 and row.independent > 0 for row in found.agreement)
    assert [row.figure for row in found.checked] == ["p50, s", "p95, s"]
    assert len(told) == 4
