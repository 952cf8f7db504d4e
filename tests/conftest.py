"""What holds for all tests: one server beside the session's at a time, and memory that is given back."""

import fcntl
from collections.abc import Iterator

import pytest

from aircheck.inference import memory

STARTING = frozenset(
    {"bulk", "cli", "faults", "listen", "own_checkpoints", "policy_judge", "server", "speech", "traces", "wheels",
     "whisper_model"}
)  # fmt: skip
"""Modules of `integration` and `release` that start servers beside the session's; one takes 3.6 GB."""


@pytest.fixture(scope="module", autouse=True)
def _servers_and_memory(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Of the modules in STARTING one runs at a time, whatever the processes; after any module, glibc keeps nothing."""
    starts = request.path.parent.name in ("integration", "release")
    starts = starts and request.path.stem.removeprefix("test_") in STARTING
    shared = tmp_path_factory.getbasetemp()
    if hasattr(request.config, "workerinput"):
        shared = shared.parent
    with (shared / "servers.lock").open("w") as lock:
        if starts:
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
        fcntl.flock(lock, fcntl.LOCK_UN)  # also where a child process has the file
    memory.trim()
