"""The programs: Python, packages, C library, Triton, and the filter that confines decoding."""

from __future__ import annotations

import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from aircheck.doctor.result import Result, fault, note, ok
from aircheck.settings import Settings
from aircheck.triton import OUTDATED, TritonError, find, libpython, python_version

PYTHONS = ("3.11", "3.12")
LEAST_GLIBC = (2, 35)
_DISTRIBUTIONS = ("aircheck", "aircheck-client")
_CONFINE = "from aircheck.gateway.decoding.sandbox import SandboxLimits, confine; confine(SandboxLimits())"
_CONFINE_TIMEOUT_S = 60.0


def python() -> Result:
    """The interpreter, and its shared library, which Triton's Python backend is linked against."""
    found = f"{platform.python_version()} ({sys.executable})"
    if python_version() not in PYTHONS:
        return fault("python", found, f"install aircheck for Python {' or '.join(PYTHONS)}")
    try:
        return ok("python", f"{found}, {libpython()}")
    except TritonError as error:
        return fault("python", found, str(error))


def packages(requires: Callable[[str], list[str] | None] = metadata.requires) -> Result:
    """Whether every package that aircheck needs is there, in a version that it takes."""
    wrong, n_right = [], 0
    for distribution in _DISTRIBUTIONS:
        for line in requires(distribution) or []:
            requirement = Requirement(line)
            if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
                continue
            try:
                version = metadata.version(requirement.name)
            except metadata.PackageNotFoundError:
                wrong.append(f"{requirement} is not installed")
                continue
            if requirement.specifier.contains(version, prereleases=True):
                n_right += 1
            else:
                wrong.append(f"{requirement} is wanted, {version} installed")
    if wrong:
        return fault("packages", "; ".join(wrong), "pip install --constraint constraints.txt, as README.md has it")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("aircheck", "torch", "nvidia-dali-cuda130"))
    return ok("packages", f"{n_right} as wanted ({versions})")


def c_library(version: str | None = None) -> Result:
    """glibc, which nvidia-pytriton's Triton wants in 2.35 or newer."""
    name, its_version = ("glibc", version) if version else platform.libc_ver()
    numbers = tuple(int(number) for number in its_version.split(".")[:2]) if its_version else ()
    if name != "glibc" or numbers < LEAST_GLIBC:
        return fault(
            "C library",
            f"{name or 'unknown'} {its_version}",
            f"run on a system with glibc {'.'.join(map(str, LEAST_GLIBC))} or newer (Debian 12, Ubuntu 22.04), or in "
            "the image of docker/Dockerfile",
        )
    return ok("C library", f"glibc {its_version}")


def triton(settings: Settings) -> Result:
    """Which Triton would be started, and whether it runs models of this Python."""
    try:
        found = find(settings.triton)
        with tempfile.TemporaryDirectory() as folder:
            found.arguments(Path(folder))
    except TritonError as error:
        return fault("triton", "none that can be started", str(error))
    if not found.is_current:
        remedy = "keep it to this machine's user, as the server does; or run the image of docker/Dockerfile, target gpu"
        return note("triton", f"{found.name} {OUTDATED.partition(';')[0]} ({found.binary})", remedy)
    return ok("triton", f"{found.name} ({found.binary})")


def sandbox(settings: Settings) -> Result:
    """Whether decoder processes can be confined: one tries."""
    if not settings.decoder_sandbox:
        return note("sandbox", "off: recordings are decoded unconfined", "unset AIRCHECK_DECODER_SANDBOX")
    done = subprocess.run(
        [sys.executable, "-c", _CONFINE], capture_output=True, text=True, timeout=_CONFINE_TIMEOUT_S, check=False
    )
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        return fault("sandbox", said, "allow seccomp(2) here; only on a machine without it, set decoder_sandbox=false")
    return ok("sandbox", "decoding is confined by a system-call filter")
