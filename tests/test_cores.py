"""Cores that may be used, within a container's limit."""

import os

import pytest

from aircheck.cores import usable_cores

SEEN = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("quota", "cores"),
    [
        ("50000 100000\n", 1),
        (f"{SEEN * 100000 - 1000} 100000\n", SEEN),  # a part of a core is a core
        (f"{SEEN * 200000} 100000\n", SEEN),
        ("max 100000\n", SEEN),
        ("", SEEN),
    ],
)
def test_a_limit_counts_in_whole_cores_and_never_adds_any(tmp_path, quota, cores):
    (tmp_path / "cpu.max").write_text(quota)
    assert usable_cores(tmp_path / "cpu.max") == cores


def test_without_a_control_group_all_cores_count(tmp_path):
    assert usable_cores(tmp_path / "none") == SEEN
