"""The Python versions that are promised, wherever they are named."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytriton
from packaging.specifiers import SpecifierSet

from aircheck.doctor.installation import PYTHONS
from aircheck.settings import ROOT
from support.image import DOCKERFILE

AROUND = [f"3.{minor}" for minor in range(9, 16)]


def test_every_promised_python_is_one_that_the_bundled_triton_can_run() -> None:
    stubs = Path(pytriton.__path__[0]) / "tritonserver" / "python_backend_stubs"
    for version in PYTHONS:
        stub = stubs / version / "triton_python_backend_stub"
        assert f"libpython{version}.so".encode() in stub.read_bytes()


def test_package_makefile_and_doctor_promise_the_same() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = SpecifierSet(project["requires-python"])
    assert tuple(version for version in AROUND if f"{version}.5" in wanted) == PYTHONS
    (checked,) = re.findall(r"version_info\[:2\] not in \((.*)\)\)'", (ROOT / "Makefile").read_text())
    assert tuple(".".join(pair) for pair in re.findall(r"\((\d+), (\d+)\)", checked)) == PYTHONS


def test_the_images_run_a_promised_python() -> None:
    text = DOCKERFILE.read_text()
    named = set(re.findall(r"python:?(3\.\d+)", text))
    assert named
    assert named <= set(PYTHONS)
