"""The load's command-line options, for Locust's parser and for the help that Locust prints too early to have them."""

from __future__ import annotations

from argparse import ArgumentParser

from aircheck.load.workload import Workload

DEFAULT_URL = "127.0.0.1:8001"
DEFAULT_USERS = 64
HELP = f"""A load on an aircheck server, by Locust over gRPC. Start a server first: aircheck serve

Half a clip a second for a minute, Poisson, whatever the server makes of it (open loop):
    python -m benchmarks.load --headless --rate 0.5 --seconds 60
Eight users, each with the next clip as soon as the last is answered (closed loop): the most that it carries
    python -m benchmarks.load --headless --loop closed --users 8
Uploads, episodes and live listeners together, with a burst of four times the rate; in the browser, with a tab Audio:
    python -m benchmarks.load --mix clip=8,episode=1,live=1 --shape spike:4@20+10 \\
        --metrics-url http://127.0.0.1:8002/metrics
More than one process can make, by two of Locust's workers:
    python -m benchmarks.load --headless --processes 2 --rate 20 --lengths lognormal:12,0.6

In an open loop --users ({DEFAULT_USERS}) is the most calls under way at a time. One that finds no user free begins
late; it is counted as late, and its latency counts from when it should have begun (no coordinated omission).
--host is HOST:PORT of the server's gRPC ({DEFAULT_URL}). Locust's own options (--users, --html, --csv, --master,
--worker, --web-port …): locust --help. What a machine carries, by these users: aircheck capacity
"""


def add_options(parser: ArgumentParser) -> None:
    """A group of one option a field of Workload."""
    group = parser.add_argument_group("aircheck", "All of the load follows from these and the seed.")
    for name, field in Workload.model_fields.items():
        group.add_argument(
            "--" + name.replace("_", "-"),
            type={int: int, float: float}.get(type(field.default), str),
            default=field.default,
            help=f"{field.description} Default: {field.default}" if field.default != "" else field.description,
            choices=["open", "closed"] if name == "loop" else None,
        )
    group.add_argument("--calls", default="", help="Write what became of each call to this file (JSON lines).")
