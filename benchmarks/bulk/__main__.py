"""`aircheck bulk` and `aircheck rescore`, measured on this machine.

    python -m benchmarks.bulk                                  # all of it
    python -m benchmarks.bulk --only kills --job-kills 20
    python -m benchmarks.bulk --only rescore --records records --items 50000

kills:      the job is killed at random moments, and the server too: how often each item is there at the end
ray:        a job on a local Ray is killed, and of two servers one, half-way, for good: how often each item is there
servers:    audio seconds a second of one server that has one core, of the other that has another, and of both together
throughput: audio seconds a second of whole jobs, against the same windows sent straight to the ensemble, in turns
items:      thousands of clips of half a second of silence: what an item costs, and the job's memory on the way
rescore:    items a second under another pack, from tables to what changes; items are those of a catalogue that was
            scanned (`--records`, else clips of the sample, scanned first), over and over

All on loopback, bounded in count. Run it on a machine at rest.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from aircheck import hardware
from aircheck.server import Server
from aircheck.settings import ROOT, Settings
from aircheck_client.catalogue.collect import collect
from aircheck_client.catalogue.records import RecordStore
from benchmarks import result_file
from benchmarks.bulk import kills, rescoring, servers, throughput
from benchmarks.bulk.catalogue import free_port, spoken_clips

RESULT = ROOT / "benchmarks" / "results" / "bulk.json"
PACKAGES = ("aircheck", "aircheck-client", "grpcio", "polars", "ray", "zstandard")
RAY_WORKERS = 2


def main() -> None:
    """Parse arguments, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=sorted(MEASUREMENTS), default=list(MEASUREMENTS))
    parser.add_argument("--clips", type=int, default=60, help="items of `kills` and `ray`, and scanned for `rescore`")
    parser.add_argument("--job-kills", type=int, default=12)
    parser.add_argument("--server-kills", type=int, default=4)
    parser.add_argument("--longest-run", type=float, default=8.0, help="seconds until a kill, at most")
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    parser.add_argument("--recordings", type=int, default=6, help="of `throughput` and `servers`")
    parser.add_argument("--minutes", type=float, default=4, help="of each of them")
    parser.add_argument("--turns", type=int, default=2, help="of `throughput`, `servers` and `rescore`")
    parser.add_argument("--items", type=int, default=10_000, help="of `items` and `rescore`")
    parser.add_argument("--records", help="a catalogue that was scanned, for `rescore`")
    result_file.add_options(parser, RESULT, markdown)
    asked = parser.parse_args()
    console = Console(highlight=False)
    report = result_file.read(asked.out)
    for name in asked.only:
        console.print(f"measuring {name}")
        conditions = {"command": "python -m benchmarks.bulk " + " ".join(sys.argv[1:]), **hardware.facts(PACKAGES)}
        with tempfile.TemporaryDirectory() as folder:
            report[name] = {"conditions": conditions, "result": MEASUREMENTS[name](asked, Path(folder))}
        result_file.write(report, asked.out)
    print(markdown(result_file.read(asked.out)))
    console.print(f"written to {asked.out}")


def _kills(asked: Any, folder: Path) -> dict[str, Any]:
    clips = spoken_clips(folder / "clips", asked.clips)
    manifest = kills.write_manifest(folder / "manifest.jsonl", clips, twice=asked.clips // 4)
    with Server(Settings.load(grpc_port=free_port(), metrics_port=0)) as server:
        found = kills.run_with_kills(
            server,
            manifest,
            folder / "out",
            job_kills=asked.job_kills,
            server_kills=asked.server_kills,
            longest_run_s=asked.longest_run,
            seed=asked.seed,
        )
    return kills.report(found)


def _ray(asked: Any, folder: Path) -> dict[str, Any]:
    clips = spoken_clips(folder / "clips", asked.clips)
    manifest = kills.write_manifest(folder / "manifest.jsonl", clips)
    settings = Settings.load(grpc_port=0, metrics_port=0)
    with Server(settings) as stays, Server(settings) as goes:
        found = kills.on_ray_with_two_servers((stays, goes), manifest, folder / "out", RAY_WORKERS)
    return kills.report(found)


def _servers(asked: Any, folder: Path) -> dict[str, Any]:
    return servers.one_and_two(folder, asked.recordings, asked.minutes, asked.turns)


def _throughput(asked: Any, folder: Path) -> dict[str, Any]:
    with Server(Settings.load(grpc_port=0, metrics_port=0)) as server:
        return throughput.against_ensemble(server, folder, asked.recordings, asked.minutes, asked.turns)


def _items(asked: Any, folder: Path) -> dict[str, Any]:
    with Server(Settings.load(grpc_port=0, metrics_port=0)) as server:
        return throughput.short_items(server, folder, asked.items)


def _rescore(asked: Any, folder: Path) -> dict[str, Any]:
    source = asked.records
    if not source:
        spoken_clips(folder / "clips", asked.clips, max_s=30.0)
        with Server(Settings.load(grpc_port=0, metrics_port=0)) as server:
            kills.start_job(server.url, folder / "clips", folder / "scanned").wait()
        source = folder / "scanned"
    many = RecordStore(folder / "many")
    rescoring.multiplied(RecordStore(source), many, asked.items)
    collect(many)
    found = rescoring.measure(f"{many.url}/tables", rescoring.stricter(folder), asked.turns)
    return {"cores": len(os.sched_getaffinity(0)), **found}


MEASUREMENTS: dict[str, Callable[[Any, Path], dict[str, Any]]] = {
    "kills": _kills,
    "ray": _ray,
    "servers": _servers,
    "throughput": _throughput,
    "items": _items,
    "rescore": _rescore,
}


def markdown(report: dict[str, Any]) -> str:
    """The figures as a table."""
    parts = {name: part["result"] for name, part in report.items()}
    rows = ["| | |", "|---|---|"]
    for name in ("kills", "ray"):
        if found := parts.get(name):
            where = "" if name == "kills" else ", on Ray"
            rows.append(f"| kills of the job, of a server{where} | {found['runs'] - 1}, {found['server_kills']} |")
            rows.append(f"| items, there once at the end | {found['items']}, {found['times_each'].get('1', 0)} |")
    if found := parts.get("throughput"):
        rows.append(f"| bulk's audio seconds a second, of the ensemble's alone | {100 * found['kept']:.0f} % |")
    if found := parts.get("servers"):
        rows.append(f"| two servers of a core each, against one of them | {found['times_one']:.2f} times |")
    if found := parts.get("items"):
        memory = found["job_memory_mib"]
        rows.append(f"| {found['items']} items of 0.5 s: a second | {found['items_per_s']:.0f} |")
        rows.append(f"| the job's CPU an item | {found['job_cpu_ms_per_item']:.1f} ms |")
        rows.append(f"| its memory after a tenth, at the end | {memory['after_a_tenth']}, {memory['at_the_end']} MiB |")
    if found := parts.get("rescore"):
        rows.append(f"| rescored items a second | {found['items_per_s']:.0f} |")
    return "\n".join(rows)


if __name__ == "__main__":
    main()
