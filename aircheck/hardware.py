"""The machine that figures were measured on, for the conditions of a result."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_INSTRUCTION_SETS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_int8", "amx_bf16")


def cpu_flags() -> frozenset[str]:
    """Instruction sets of the CPU, by the kernel's names."""
    return frozenset(_cpu_field("flags").split())


def has_fast_bf16() -> bool:
    """Whether the CPU multiplies bf16 in hardware: AVX512-BF16 or AMX. Without, bf16 is slower than fp32."""
    return bool({"avx512_bf16", "amx_bf16"} & cpu_flags())


def n_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0))


def facts(packages: tuple[str, ...] = ()) -> dict[str, Any]:
    """CPU, memory, GPU, system and the versions of `packages` (those that are installed)."""
    flags = cpu_flags()
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "cpu": _cpu_field("model name") or platform.processor(),
        "instruction_sets": [name for name in _INSTRUCTION_SETS if name in flags],
        "cores": n_cores(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "gpu": _gpu(),
        "load_average_at_start": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "versions": {name: found for name in packages if (found := _version(name))},
    }


def peak_memory_mib(pid: int | None = None) -> float:
    """The most memory that the process (default: this one) has had resident (VmHWM)."""
    for line in Path(f"/proc/{pid or 'self'}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("/proc/PID/status has no VmHWM; peak memory is measured on Linux only")


def _cpu_field(name: str) -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(name):
            return line.split(":", 1)[1].strip()
    return ""


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _gpu() -> str | None:
    command = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip().splitlines()[0] if found.returncode == 0 and found.stdout.strip() else None
