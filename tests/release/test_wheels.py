"""The two wheels, built as docker/Dockerfile builds them and installed by pip away from the checkout."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from aircheck.settings import PREFIX, ROOT
from aircheck_client import Verdict
from support.audio import wav
from support.image import copied, instructions
from support.speech import speak

PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]


class Installed:
    """An environment into which both wheels were installed; dependencies come from the one that runs the tests.

    The wheels are made of what the image's build gets to see, by its own command. The dependencies are found by a line
    of a .pth file: Python adds the folder to the path, and does not read that folder's own .pth files, by which a
    checkout is installed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.wheels = folder, folder / "wheels"
        source = folder / "source"
        for file, place in copied("wheels").items():
            (source / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / file, source / place)
        (build,) = (value for name, value in instructions("wheels") if name == "RUN")
        pip, *arguments = build.replace("/wheels", str(self.wheels)).split()
        assert pip == "pip"
        _run(*PIP, *arguments, "--no-build-isolation", cwd=source)
        venv.create(folder / "venv", with_pip=False)
        self.bin = folder / "venv" / "bin"
        (self.packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
        (self.packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
        wheels = [str(wheel) for wheel in self.wheels.glob("*.whl")]
        _run(*PIP, "--python", str(self.bin / "python"), "install", "--no-deps", "--no-index", *wheels)

    def run(self, *command: str) -> str:
        """What a program of the environment prints, started in an empty folder."""
        elsewhere = self.folder / "elsewhere"
        elsewhere.mkdir(exist_ok=True)
        return _run(str(self.bin / command[0]), *command[1:], cwd=elsewhere)


def _run(*command: str, cwd: Path | None = None) -> str:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH" and not k.startswith(PREFIX)}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return Installed(tmp_path_factory.mktemp("wheels"))


def test_nothing_of_the_checkout_is_installed_but_the_product(installed: Installed) -> None:
    installed_names = {
        path.name for path in installed.packages.iterdir() if not path.name.endswith((".dist-info", ".pth"))
    }
    assert installed_names == {"aircheck", "aircheck_client", "preprocessing"}


def test_each_module_and_each_shipped_folder_is_complete(installed: Installed) -> None:
    """A file that git has and the wheel has not is a feature that only a checkout has."""
    tracked = _run("git", "-C", str(ROOT), "ls-files", "aircheck", "preprocessing", "model_repository", "server_config")
    client = _run("git", "-C", str(ROOT / "clients"), "ls-files", "aircheck_client")
    for name in [*tracked.split(), *client.split()]:
        inside = "aircheck" if name.startswith(("model_repository", "server_config")) else ""
        assert (installed.packages / inside / name).is_file(), name


def test_the_installed_server_serves_its_own_models_and_scans(installed: Installed) -> None:
    where = "import aircheck.settings, preprocessing, aircheck_client as c; s = aircheck.settings.Settings.load();"
    where += (
        "print(s.model_repository, s.policy_dir, s.profanity_dir, preprocessing.__path__[0], c.__path__[0], sep='\\n')"
    )
    for path in installed.run("python", "-c", where).split():
        assert Path(path).is_relative_to(installed.packages), path
    recording = installed.folder / "threat.wav"
    recording.write_bytes(wav(speak("i will find you and i will kill you")))
    told = installed.run("aircheck", "demo", str(recording))
    assert "decision: BLOCK" in told
    assert "aircheck serve" in told
    verdict = Verdict.model_validate(json.loads(recording.with_suffix(".verdict.json").read_text()))
    assert verdict.findings


def test_every_command_of_both_wheels_is_there(installed: Installed) -> None:
    told = installed.run("aircheck", "--help")
    for command in (
        "scan",
        "listen",
        "worker",
        "bulk",
        "serve",
        "demo",
        "doctor",
        "evaluate",
        "thresholds",
        "rescore",
        "token",
        "trace",
    ):
        assert f" {command} " in told


def test_nothing_that_is_installed_imports_what_is_not(installed: Installed) -> None:
    for folder in ("aircheck", "aircheck_client", "preprocessing"):
        for path in (installed.packages / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
                roots = {name.partition(".")[0] for name in names}
                assert not roots & {"benchmarks", "release", "support", "tests", "training"}, path


def test_nothing_that_is_installed_looks_beside_its_packages(installed: Installed) -> None:
    """`ROOT` is site-packages there; what a wheel carries is found by `shipped`."""
    for path in (installed.packages / "aircheck").rglob("*.py"):
        if path.name != "shipped.py":
            assert not re.search(r"\bROOT /|__file__\)\S*parents\[[2-9]\] /", path.read_text()), path
