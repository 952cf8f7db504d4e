"""The bench's commands run on a plain install, without the extras, and in the image, which has no recipes either."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions

import pytest

from aircheck.settings import ROOT
from benchmarks.quality.manifest import Item, Label, write
from benchmarks.quality.results import RESULTS

PLAIN = """
import sys
for name in {blocked}:
    sys.modules[name] = None  # whoever imports it is told that there is no such module
sys.argv = {arguments}
{run}
"""
COMMAND = "from aircheck_client.cli import main; main()"
MAKE_A_SET = "import runpy; runpy.run_module('benchmarks.quality.embedded', run_name='__main__')"


def plain_name(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


@cache
def only_in_extras() -> list[str]:
    """The modules of every package that pyproject.toml names as an extra."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    wanted = {plain_name(re.split(r"[<>=\[ ]", entry)[0]) for entries in extras.values() for entry in entries}
    return sorted(
        module for module, owners in packages_distributions().items() if wanted & {plain_name(one) for one in owners}
    )


def plainly(run: str, *arguments: object, recipes: bool = False) -> subprocess.CompletedProcess[str]:
    blocked = [*only_in_extras(), *([] if recipes else ["training"])]
    program = PLAIN.format(blocked=blocked, arguments=["aircheck", *map(str, arguments)], run=run)
    settings = {**os.environ, "COLUMNS": "120", "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}
    command = [sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=ROOT, env=settings)


def test_the_packages_of_development_are_known() -> None:
    known = {"espeakng_loader", "hypothesis", "jiwer", "pytest", "scipy", "sklearn", "soundfile", "wordfreq"}
    assert known <= set(only_in_extras())


@pytest.mark.parametrize("command", ["evaluate", "thresholds"])
def test_the_help_is_there(command: str) -> None:
    done = plainly(COMMAND, command, "--help")
    assert done.returncode == 0, done.stderr
    assert "Usage: aircheck " + command in done.stdout


def test_a_model_is_measured_and_thresholds_are_proposed(tmp_path) -> None:
    items = [
        Item(id="threat", text="i will find you and i will kill you", labels=(Label(category="violence_threat"),)),
        Item(id="film", text="we shoot the film on friday", slices={"kind": "hard negative"}),
    ]
    write(items, tmp_path / "texts.jsonl")
    out = tmp_path / "out"
    done = plainly(COMMAND, "evaluate", tmp_path / "texts.jsonl", "--through", "text_safety", "--out", out)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len((out / RESULTS).read_text().splitlines()) == 2
    done = plainly(COMMAND, "thresholds", out)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "violence_threat" in done.stdout


def test_making_a_set_says_what_it_needs(tmp_path) -> None:
    done = plainly(MAKE_A_SET, tmp_path, recipes=True)
    assert done.returncode == 2
    assert "is not installed" in done.stderr
    assert "pip install -e '.[dev]'" in done.stderr
    assert "Traceback" not in done.stderr
