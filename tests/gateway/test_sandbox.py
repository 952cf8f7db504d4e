"""What a confined process can do: nothing but its work."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from aircheck.gateway.decoding import SandboxError, sandbox
from aircheck.gateway.decoding.sandbox import SandboxLimits, allow_cpu, check_supported, cpu_used_s

CONFINED = Path(__file__).with_name("confined.py")
DENIED = {
    "read a file": "EPERM",
    "make a file": "EPERM",
    "look at a file": "EPERM",
    "list a folder": "EPERM",
    "remove a file": "EPERM",
    "rename a file": "EPERM",
    "make a socket": "EPERM",
    "make a unix socket": "EPERM",
    "connect": "EPERM",
    "fork": "EPERM",
    "vfork": "EPERM",
    "clone3": "ENOSYS",
    "run a program": "EPERM",
    "signal another": "EPERM",
    "be traced": "EPERM",
    "read another's memory": "EPERM",
    "raise a limit": "EPERM",
    "allocate 8 GB": "ENOMEM",
    "allocate 8 GB in Python": "ENOMEM",
}
ALLOWED = ("allocate a little", "start a thread", "speak to the gateway")


def confined(victim: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(CONFINED), str(victim), str(os.getpid()), *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_a_confined_process_can_only_compute_and_talk(tmp_path):
    victim = tmp_path / "file"
    victim.write_text("here")
    process = confined(victim)
    outcomes = json.loads(process.communicate(timeout=60)[0])
    assert outcomes == DENIED | dict.fromkeys(ALLOWED, "done")
    assert process.returncode == 0
    assert victim.read_text() == "here"
    assert list(tmp_path.iterdir()) == [victim]


def test_a_process_that_spins_is_ended_when_its_cpu_time_is_used_up(tmp_path):
    process = confined(tmp_path / "none", "spin")
    try:
        used_s = cpu_used_s(process.pid)
        allow_cpu(process.pid, used_s, 2.0)
        assert process.wait(timeout=120) == -signal.SIGXCPU
    finally:
        process.kill()
        process.communicate()


def test_more_cpu_time_can_be_allowed_from_outside(tmp_path):
    process = confined(tmp_path / "none", "spin")
    try:
        allow_cpu(process.pid, 0.0, 2.0)
        allow_cpu(process.pid, 0.0, 3600.0)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=8)
    finally:
        process.kill()
        process.communicate()


def test_the_budget_grows_with_what_arrives_and_what_is_decoded():
    limits = SandboxLimits(cpu_base_s=10.0, cpu_s_per_mib=2.0, cpu_s_per_audio_s=0.1)
    assert limits.cpu_s(0, 0.0) == 10.0
    assert limits.cpu_s(5 * 2**20, 0.0) == 20.0
    assert limits.cpu_s(5 * 2**20, 100.0) == 30.0


HEADERS = Path("/usr/include")
NUMBERS = re.compile(r"^#define __NR(?:3264)?_(\w+)\s+(\d+)$", re.MULTILINE)


@pytest.mark.parametrize(
    ("machine", "header"), [("x86_64", "x86_64-linux-gnu/asm/unistd_64.h"), ("aarch64", "asm-generic/unistd.h")]
)
def test_system_calls_have_the_kernels_numbers(machine, header):
    if not (HEADERS / header).exists():
        pytest.skip("the kernel's headers are not installed (linux-libc-dev)")
    numbers = {name: int(number) for name, number in NUMBERS.findall((HEADERS / header).read_text())}
    architecture = sandbox._ARCHITECTURES[machine]
    ours = {**architecture.allowed, "clone": architecture.clone, "clone3": architecture.clone3}
    assert ours == {name: numbers[name] for name in ours}


def test_an_unknown_machine_is_refused_with_what_to_do(monkeypatch):
    monkeypatch.setattr(sandbox.platform, "machine", lambda: "riscv64")
    with pytest.raises(SandboxError, match=r"riscv64.*decoder_sandbox=false"):
        check_supported()
