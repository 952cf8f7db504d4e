"""Damaged and hostile files: a short run of benchmarks/mutants.py, the same inputs each time."""

from __future__ import annotations

import asyncio
from itertools import islice

import pytest

from benchmarks.mutants import measure, mutants, originals

INPUTS = 1_000
SECONDS = 60.0  # on a busy machine fewer inputs are tried


def test_every_mutant_ends_in_windows_or_an_error_that_names_the_fault():
    report = asyncio.run(measure(INPUTS, SECONDS, seed=20261126, processes=2))
    assert report["inputs"] >= 100
    assert not [kind for kind in report["outcomes"] if kind.startswith(("HANG", "FAULT"))]
    lost = sum(count for kind, count in report["outcomes"].items() if kind.startswith("lost"))
    assert lost == report["processes_lost"]
    assert report["outcomes"]["decoded"] > 0
    assert report["outcomes"]["UnsupportedFormatError"] > 0


@pytest.mark.parametrize("seed", [1, 2])
def test_the_mutants_of_a_seed_are_always_the_same(seed):
    files = {name: data for name, data in originals(0.1).items() if name in ("wav", "flac", "au")}
    assert list(islice(mutants(files, seed), 50)) == list(islice(mutants(files, seed), 50))
    assert list(islice(mutants(files, seed), 50)) != list(islice(mutants(files, seed + 10), 50))
