"""Kills of the job, and of the server, at random moments: whatever is killed, each item is there once at the end."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from aircheck.server import Server
from aircheck_client.catalogue.records import RecordStore

SHORTEST_RUN_S = 0.3
LOOK_EVERY_S = 0.2


@dataclass(frozen=True)
class Kills:
    """What a run of kills left.

    runs : of the job, with the last one, which nobody killed
    done_at_kills : entries in the store after each kill of the job
    entries, records : at the end; times_each : how often an item is there
    unfit : entries whose record is not there, and records that no entry names
    """

    items: int
    audios: int
    runs: int
    server_kills: int
    done_at_kills: tuple[int, ...]
    entries: int
    records: int
    times_each: dict[int, int]
    unfit: int
    exit_code: int

    @property
    def is_exact(self) -> bool:
        return (
            self.exit_code == 0
            and self.entries == self.items
            and self.records == self.audios
            and self.times_each == {1: self.items}
            and self.unfit == 0
        )


def run_with_kills(
    server: Server,
    manifest: Path,
    out: Path,
    *,
    job_kills: int,
    server_kills: int,
    longest_run_s: float,
    seed: int = 0,
) -> Kills:
    """Starts the job again and again, kills it and the server, and lets the last run end.

    server : on a port of its own, which it keeps when it is started again
    longest_run_s : until a kill, which comes at a random moment before that
    """
    moments = random.Random(seed)
    store, done, server_was_killed = RecordStore(out), [], 0
    for kill in range(job_kills):
        job = start_job(server.url, manifest, out)
        time.sleep(moments.uniform(SHORTEST_RUN_S, longest_run_s))
        if server_was_killed * job_kills < kill * server_kills:
            os.kill(server.pid, signal.SIGKILL)
            server_was_killed += 1
            time.sleep(moments.uniform(0, 1.0))  # the job sees that nobody is there
            os.kill(job.pid, signal.SIGKILL)
            server.stop()
            server.start()
        else:
            os.kill(job.pid, signal.SIGKILL)
        job.wait()
        done.append(sum(1 for _ in store.items))
    last = start_job(server.url, manifest, out)
    if server_was_killed < server_kills:  # the job outlives its server
        time.sleep(moments.uniform(SHORTEST_RUN_S, longest_run_s))
        os.kill(server.pid, signal.SIGKILL)
        server_was_killed += 1
        server.stop()
        server.start()
    exit_code = last.wait()
    return _counted(store, manifest, job_kills + 1, server_was_killed, done, exit_code)


def on_ray_with_two_servers(servers: Sequence[Server], manifest: Path, out: Path, workers: int) -> Kills:
    """A job on Ray is killed after a third of the items; of the next one, a server half-way, which stays away."""
    store, url = RecordStore(out), ",".join(server.url for server in servers)
    items = len(manifest.read_text().splitlines())
    options = ("--engine", "ray", "--workers", str(workers))
    first = start_job(url, manifest, out, *options)
    done = [_killed_when_done(store, items // 3, first, first.pid)]
    first.wait()
    last = start_job(url, manifest, out, *options)
    done.append(_killed_when_done(store, items // 2, last, servers[-1].pid))
    return _counted(store, manifest, 2, 1, done, last.wait())


def _killed_when_done(store: RecordStore, enough: int, job: subprocess.Popen[bytes], victim: int) -> int:
    """Kills a process once so many items are done; how many are."""
    while (done := sum(1 for _ in store.items)) < enough:
        if job.poll() is not None:
            raise RuntimeError(f"the job ended with {job.returncode} after {done} of {enough} items")
        time.sleep(LOOK_EVERY_S)
    os.kill(victim, signal.SIGKILL)
    return done


def write_manifest(path: Path, files: Sequence[Path], twice: int = 0) -> Path:
    """One line a file; the first `twice` files are there under a second name too."""
    names = [(file.stem, file) for file in files] + [(f"{file.stem}-again", file) for file in files[:twice]]
    path.write_text("".join(json.dumps({"id": name, "uri": str(file)}) + "\n" for name, file in names))
    return path


def start_job(url: str, source: Path, out: Path, *options: str) -> subprocess.Popen[bytes]:
    """`aircheck bulk` in a process of its own."""
    command = [sys.executable, "-m", "aircheck_client.cli", "bulk", str(source), "--out", str(out), "--url", url]
    return subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _counted(
    store: RecordStore, manifest: Path, runs: int, server_kills: int, done: list[int], exit_code: int
) -> Kills:
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    entries, records = list(store.items), {record.key for record in store.records()}
    named = {entry.key for entry in entries}
    return Kills(
        items=len(lines),
        audios=len({line["uri"] for line in lines}),
        runs=runs,
        server_kills=server_kills,
        done_at_kills=tuple(done),
        entries=len(entries),
        records=len(records),
        times_each=dict(Counter(Counter(entry.item.id for entry in entries).values())),
        unfit=len(named ^ records),
        exit_code=exit_code,
    )


def report(kills: Kills) -> dict[str, object]:
    return asdict(kills) | {"is_exact": kills.is_exact}
