"""Damaged and hostile files through decoder processes: what comes of each, and whether anything else is harmed.

    python -m benchmarks.mutants --inputs 100000 --seconds 1500
    python -m benchmarks.mutants --show benchmarks/results/mutants.json

Every file of benchmarks/sound_files.py, of half a second, is mutated at random: bits and runs of bytes, numbers set to
extremes, pieces cut out, doubled or moved, the file cut off, or spliced with another format. Each input must end in
windows or in an error that names the fault, in time; a decoder process may be lost, the gateway's may not.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markdown import Markdown

from aircheck import hardware
from aircheck.gateway.decoding import DecoderLostError, DecoderPool, SandboxLimits, Spool, SpoolQuota
from aircheck.settings import ROOT
from benchmarks import result_file
from benchmarks.sound_files import FILES, RATE_HZ, sound_file
from preprocessing.container import Limits
from preprocessing.errors import AudioError

RESULT = ROOT / "benchmarks" / "results" / "mutants.json"
LIMITS = Limits(max_bytes=2**28, max_duration_s=1800, max_channels=8, max_sample_rate_hz=192_000)
COSTS = SandboxLimits(cpu_base_s=10.0, stall_s=20.0)
HANG_S = 120.0  # no input may take longer, whatever shares the machine
WINDOW_MAX_S = 30.0
_EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF)
_HEAD_BYTES = 512  # where most formats keep what others follow from


def originals(duration_s: float = 0.5) -> dict[str, bytes]:
    """Every file, of a tone and noise."""
    at = np.arange(round(duration_s * RATE_HZ)) / RATE_HZ
    noise = np.random.default_rng(0).standard_normal((2, len(at)))
    sound = (0.4 * np.sin(2 * np.pi * 330 * at) + 0.05 * noise).astype(np.float32)
    return {name: sound_file(sound[: 1 if name in ("amr", "3gp") else 2], name, {"title": "Mutant"}) for name in FILES}


def mutants(files: Mapping[str, bytes], seed: int) -> Iterator[tuple[str, bytes]]:
    """Without end: the name of a file in `files`, in turn, and a mutant of it. The same for the same seed."""
    rng = random.Random(seed)
    names = list(files)
    while True:
        for name in names:
            data = bytearray(files[name])
            for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
                data = _mutated(data, rng, files[rng.choice(names)])
            yield name, bytes(data)


def _mutated(data: bytearray, rng: random.Random, other: bytes) -> bytearray:
    size = len(data)
    if size < 16:
        return data + rng.randbytes(16)
    at = rng.randrange(min(size, _HEAD_BYTES)) if rng.random() < 0.5 else rng.randrange(size)
    run = min(int(2 ** rng.uniform(0, 14)), size - at)
    match rng.randrange(10):
        case 0:
            for _ in range(rng.choice((1, 4, 64))):
                data[rng.randrange(size)] ^= 1 << rng.randrange(8)
        case 1:
            data[at : at + run] = rng.randbytes(run)
        case 2 | 3:
            width = rng.choice((1, 2, 4, 8))
            number = rng.choice(_EXTREMES) + rng.randrange(-2, 3)
            written = (number % 2 ** (8 * width)).to_bytes(width, rng.choice(("big", "little")))
            data[at : at + width] = written
        case 4:
            del data[at : at + run]
        case 5:
            data[at:at] = data[at : at + run] * rng.choice((1, 1, 3))
        case 6:
            del data[at:]
        case 7:
            data[at : at + run] = bytes([rng.choice((0, 0xFF))]) * run
        case 8:
            data[at:] = other[rng.randrange(len(other)) :]
        case _:
            piece = data[at : at + run]
            del data[at : at + run]
            to = rng.randrange(len(data) + 1)
            data[to:to] = piece
    return data


async def outcome(pool: DecoderPool, quota: SpoolQuota, data: bytes) -> str:
    """What comes of an input, by kind."""
    spool = Spool.create(quota)
    try:
        async with asyncio.timeout(HANG_S):
            await spool.append(data)
            spool.complete()
            async with pool.decode(spool, LIMITS, WINDOW_MAX_S) as decoding:
                async for _ in decoding.windows():
                    pass
        return "decoded" if not decoding.summary.warnings else "decoded with warnings"
    except AudioError as error:
        return type(error).__name__
    except DecoderLostError as error:
        return f"lost: {str(error).rpartition(': ')[2]}"
    except TimeoutError:
        return "HANG"
    except Exception as error:
        return f"FAULT: {type(error).__name__}"
    finally:
        spool.close()


async def measure(inputs: int, seconds: float, seed: int, processes: int, kept: Path | None = None) -> dict[str, Any]:
    """As many inputs as there is time for; those that cost a process are kept in the folder `kept`."""
    files = originals()
    source = enumerate(mutants(files, seed))
    outcomes: Counter[str] = Counter()
    by_format: dict[str, Counter[str]] = {name: Counter() for name in files}
    slowest_s = 0.0
    with tempfile.TemporaryDirectory() as folder:
        quota = SpoolQuota(Path(folder), 2**30, 2**28)
        async with DecoderPool(COSTS, processes) as pool:
            begun_s = time.monotonic()

            async def work() -> None:
                nonlocal slowest_s
                while time.monotonic() - begun_s < seconds:
                    number, (name, data) = next(source)
                    if number >= inputs:
                        return
                    started_s = time.monotonic()
                    kind = await outcome(pool, quota, data)
                    slowest_s = max(slowest_s, time.monotonic() - started_s)
                    outcomes[kind] += 1
                    by_format[name][kind.partition(":")[0]] += 1
                    if kept is not None and kind.startswith(("lost", "HANG", "FAULT")):
                        (kept / f"{name}-{number}").write_bytes(data)

            await asyncio.gather(*(work() for _ in range(processes)))
            took_s = time.monotonic() - begun_s
            lost = pool.lost
        if quota.used_bytes:
            raise RuntimeError(f"{quota.used_bytes} bytes were not given back to the quota")
    return {
        "inputs": outcomes.total(),
        "seconds": round(took_s, 1),
        "slowest_s": round(slowest_s, 2),
        "processes_lost": lost,
        "outcomes": dict(outcomes.most_common()),
        "formats": {name: dict(counts) for name, counts in by_format.items()},
        "gateway_peak_mib": round(hardware.peak_memory_mib()),
    }


def markdown(report: dict[str, Any]) -> str:
    """The tables of a result."""
    lines = [
        f"{report['inputs']} inputs in {report['seconds']:.0f} s, the slowest in {report['slowest_s']} s; "
        f"{report['processes_lost']} decoder processes lost.",
        "",
        "| outcome | inputs |",
        "|---|---|",
    ]
    return "\n".join([*lines, *(f"| {name} | {count} |" for name, count in report["outcomes"].items())])


def main() -> None:
    """Parse arguments, run, print, write."""
    asked = _parse()
    if asked.keep:
        asked.keep.mkdir(parents=True, exist_ok=True)
    report = {
        "conditions": {
            "command": "python -m benchmarks.mutants " + " ".join(sys.argv[1:]),
            **hardware.facts(("av", "torch")),
        },
        **asyncio.run(measure(asked.inputs, asked.seconds, asked.seed, asked.processes, asked.keep)),
    }
    result_file.write(report, asked.out)
    Console().print(Markdown(markdown(report)))
    if any(kind.startswith(("HANG", "FAULT")) for kind in report["outcomes"]):
        sys.exit(1)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=1_500.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--keep", type=Path, help="folder for inputs that cost a process")
    result_file.add_options(parser, RESULT, markdown)
    return parser.parse_args()


if __name__ == "__main__":
    main()
