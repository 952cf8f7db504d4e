"""docker/Dockerfile, as far as it can be read without Docker."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

from dockerfile_parse import DockerfileParser

from aircheck.settings import ROOT

DOCKERFILE = ROOT / "docker" / "Dockerfile"


def instructions(target: str) -> list[tuple[str, str]]:
    """Instructions of one stage, in order: ("COPY", "clients clients")."""
    with DOCKERFILE.open("rb") as file:
        steps = [(step["instruction"], step["value"]) for step in DockerfileParser(fileobj=file).structure]
    stages = [number for number, (name, _) in enumerate(steps) if name == "FROM"]
    for begin, end in zip(stages, [*stages[1:], len(steps)], strict=True):
        if steps[begin][1].endswith(f" AS {target}"):
            return steps[begin:end]
    raise KeyError(target)


def environment(target: str) -> dict[str, str]:
    """Variables that the stage sets."""
    values = [value for name, value in instructions(target) if name == "ENV"]
    return dict(re.split("=", word, maxsplit=1) for value in values for word in shlex.split(value))  # type: ignore[misc]


def copied(target: str) -> dict[str, str]:
    """Where each file of the build's context comes to lie in the stage, relative to its working directory."""
    context = _context()
    paths: dict[str, str] = {}
    for name, value in instructions(target):
        if name == "COPY" and "--from" not in value:
            *sources, destination = value.split()
            for source in sources:
                found = [file for file in context if file == source or file.startswith(f"{source}/")]
                assert found, f"COPY {source}: .dockerignore lets nothing of it through"
                for file in found:
                    inside = file.removeprefix(f"{source}/") if file != source else Path(source).name
                    is_folder = file != source or destination.endswith("/")
                    paths[file] = str(Path(destination, inside)) if is_folder else destination
    return paths


def _context() -> list[str]:
    """Tracked files that .dockerignore, of which the first line is "*", lets through."""
    first, *patterns = DOCKERFILE.with_name("Dockerfile.dockerignore").read_text().split()
    assert first == "*"
    allowed = [pattern[1:] for pattern in patterns if pattern.startswith("!")]
    tracked = subprocess.run(["git", "-C", ROOT, "ls-files"], capture_output=True, text=True, check=True).stdout.split()
    return [file for file in tracked if any(file == name or file.startswith(f"{name}/") for name in allowed)]
