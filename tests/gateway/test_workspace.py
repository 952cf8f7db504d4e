"""What a gateway leaves when it and its reaper are killed, and who removes it."""

from __future__ import annotations

import secrets
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from aircheck.gateway import reaper
from aircheck.gateway.workspace import Workspace

_GATEWAY = """
import sys, time
from pathlib import Path
from aircheck.gateway.workspace import Workspace
workspace = Workspace(sys.argv[1])
workspace.run_dir.mkdir()
region = Path(f"/dev/shm/{workspace.name}_region")
region.write_bytes(b"audio")
print(region, workspace.folder, workspace.name, flush=True)
time.sleep(300)
"""


@pytest.fixture
def stem():
    stem = f"test_aircheck_{secrets.token_hex(4)}"
    yield stem
    assert not list(Path("/dev/shm").glob(f"{stem}*"))


@pytest.fixture
def gateway(stem):
    """(another gateway's process, what it keeps)"""
    with subprocess.Popen([sys.executable, "-c", _GATEWAY, stem], stdout=subprocess.PIPE, text=True) as process:
        *paths, name = process.stdout.readline().split()
        yield process, [Path(path) for path in (*paths, reaper.owner(name))]
        process.kill()
    Workspace(stem).close()


def test_what_a_killed_gateway_kept_is_removed_by_the_next_one(gateway, stem):
    process, kept = gateway
    assert [path.stat().st_mode & 0o077 for path in kept[1:]] == [0, 0]
    process.kill()
    process.wait()
    assert all(path.exists() for path in kept)
    Workspace(stem).close()
    assert not any(path.exists() for path in kept)


def test_what_a_gateway_keeps_that_lives_is_left_alone_also_while_it_is_stopped(gateway, stem):
    process, kept = gateway
    process.send_signal(signal.SIGSTOP)
    Workspace(stem).close()
    assert all(path.exists() for path in kept)


def test_what_others_keep_under_another_name_is_left_alone(stem):
    other = Workspace(f"{stem}x")
    Workspace(stem).close()
    assert other.folder.exists()
    other.close()


def test_after_a_triton_its_own_is_removed_and_the_address_stays(stem):
    workspace = Workspace(stem)
    workspace.run_dir.mkdir()
    region = Path(f"/dev/shm/{workspace.name}_region")
    region.write_bytes(b"audio")
    workspace.clean()
    assert not region.exists()
    workspace.run_dir.mkdir()
    workspace.close()
    assert not workspace.folder.exists()
