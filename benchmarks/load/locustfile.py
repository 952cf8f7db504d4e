"""Locust: how many seconds of audio a second the server checks under a given number of uploaders.

    aircheck serve                                                     # in one terminal
    locust -f benchmarks/load/locustfile.py --headless --users 8 --run-time 30s --host 127.0.0.1:8001

Each user scans clips one after another over gRPC (tritonclient's stubs, under gevent). The run is bounded in time
(60 s unless --run-time says less or more, an hour at most) and sends load to this machine only. At the end it prints
audio seconds a second; `--json` and Locust's web page give latencies as usual.
"""

from __future__ import annotations

import ipaddress
import random
import time
from pathlib import Path
from typing import Any

import gevent
import grpc.experimental.gevent
from locust import User, events, task
from locust.env import Environment

grpc.experimental.gevent.init_gevent()  # before the first channel: gRPC's waits become gevent's

from aircheck_client import AircheckClient, AircheckError, Retry  # noqa: E402 (after gevent is in place)
from aircheck_client.schema import Verdict  # noqa: E402 (likewise)
from benchmarks.clips import sample_clips  # noqa: E402 (likewise)

DEFAULT_RUN_S, LONGEST_RUN_S = 60, 3600
SAMPLE = Path(__file__).parents[2] / "samples" / "episode.mp3"

_checked_s = 0.0
_started = 0.0


class Uploader(User):
    """Scans a random clip of the sample episode, again and again, without pausing."""

    host = "127.0.0.1:8001"

    def on_start(self) -> None:
        self.client = AircheckClient(self.host, timeout_s=120, retry=Retry(attempts=1))

    def on_stop(self) -> None:
        self.client.close()

    @task
    def scan_clip(self) -> None:
        """One call of the ensemble `audio_safety`."""
        global _checked_s
        clip = random.choice(_clips)
        started = time.perf_counter()
        failure: AircheckError | None = None
        verdict: Verdict | None = None
        try:
            verdict = self.client.scan_clip(clip)
            _checked_s += verdict.duration_s
        except AircheckError as error:
            failure = error
        self.environment.events.request.fire(
            request_type="gRPC",
            name="audio_safety",
            response_time=1000 * (time.perf_counter() - started),
            response_length=len(verdict.model_dump_json()) if verdict else 0,
            exception=failure,
            context={},
        )


_clips: list[bytes] = []


@events.test_start.add_listener
def _begin(environment: Environment, **_: Any) -> None:
    global _checked_s, _started
    host = str(environment.host or Uploader.host)
    if not _is_loopback(host):
        raise SystemExit(f"{host} is not this machine: load goes to loopback alone (a tunnel can bring a server here)")
    run_s = (environment.parsed_options.run_time if environment.parsed_options else None) or DEFAULT_RUN_S
    bounded_s = min(run_s, LONGEST_RUN_S)
    gevent.spawn_later(bounded_s, lambda: environment.runner.quit() if environment.runner else None)
    _clips[:] = sample_clips(SAMPLE)
    _checked_s, _started = 0.0, time.perf_counter()


@events.test_stop.add_listener
def _report(environment: Environment, **_: Any) -> None:
    took_s = time.perf_counter() - _started
    failures = environment.stats.total.num_failures
    rate = _checked_s / took_s
    print(f"audio seconds a second: {rate:.1f} ({_checked_s:.0f} s checked in {took_s:.1f} s, {failures} failures)")


def _is_loopback(host: str) -> bool:
    name = host.removeprefix("http://").removeprefix("grpc://").rsplit(":", 1)[0].strip("[]")
    try:
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
