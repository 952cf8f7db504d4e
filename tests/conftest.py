"""What holds for all tests: which share a process where several run them, and that memory is given back."""

from collections.abc import Iterator

import pytest

from aircheck.inference import memory

SERVERS = "servers of their own"
"""Modules that start a server beside the session's run in one process, one after another: a server takes 3.6 GB."""

STARTING = frozenset(
    {"bulk", "cli", "faults", "listen", "own_checkpoints", "policy_judge", "server", "speech", "traces", "wheels",
     "whisper_model"}
)  # fmt: skip


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        starts = (
            item.path.parent.name in ("integration", "release") and item.path.stem.removeprefix("test_") in STARTING
        )
        item.add_marker(pytest.mark.xdist_group(SERVERS if starts else str(item.path)))


@pytest.fixture(scope="module", autouse=True)
def _memory_of_a_module_is_given_back() -> Iterator[None]:
    """Models are loaded in many modules, and glibc would keep what they took."""
    yield
    memory.trim()
