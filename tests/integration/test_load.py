"""The Locust load test, for a few seconds, against the session's server."""

import re
import subprocess
import sys
from pathlib import Path

LOCUSTFILE = Path(__file__).parents[2] / "benchmarks" / "load" / "locustfile.py"


def locust(host, *options):
    command = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--headless", "--host", host, "--users", "4"]
    return subprocess.run([*command, "--spawn-rate", "4", *options], capture_output=True, text=True, timeout=120)


def test_it_reports_audio_seconds_a_second_and_ends_by_itself(server):
    done = locust(server.url, "--run-time", "20s")
    assert done.returncode == 0, done.stdout + done.stderr
    (rate, checked_s, failures) = re.search(
        r"audio seconds a second: ([\d.]+) \(([\d.]+) s checked in [\d.]+ s, (\d+) failures\)", done.stdout
    ).groups()
    assert float(rate) > 0
    assert float(checked_s) > 0
    assert int(failures) == 0


def test_it_sends_load_to_this_machine_alone():
    done = locust("192.0.2.1:8001", "--run-time", "5s")  # an address reserved for documentation (RFC 5737)
    assert done.returncode != 0
    assert "loopback" in done.stdout + done.stderr
