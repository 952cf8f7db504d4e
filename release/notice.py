"""Writes NOTICE: licences of all weights (release/weights.yaml) and of all packages that the product depends on.

    python -m release.notice            writes the file
    python -m release.notice --check    exit code 1 where a direct dependency or a set of weights is missing in it

A package's licence is what its metadata says. Run it in the environment that `make test` makes.
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
NOTICE = ROOT / "NOTICE"
_EXTRAS = ("bulk", "worker")  # of the client, in the image of the worker
_HEAD = """aircheck
Licensed under the Apache License, Version 2.0 (LICENSE).

This product uses the weights and the packages below. `python -m release.notice` writes this file.
"""
_REMARKS = {
    "av": "its wheel carries FFmpeg (LGPL 3), x264 and x265 (GPL 2), LAME (LGPL 2) and other codecs",
    "nvidia-pytriton": "its wheel carries NVIDIA Triton Inference Server, BSD-3-Clause",
}


@dataclass(frozen=True)
class Package:
    """An installed distribution and its licence, as its metadata names it."""

    name: str
    licence: str

    @property
    def line(self) -> str:
        remark = _REMARKS.get(self.name)
        return f"{self.name}: {self.licence}" + (f" ({remark})" if remark else "")


def direct() -> list[Requirement]:
    """What the two distributions ask for themselves."""
    found = []
    for path, extras in ((ROOT / "pyproject.toml", ()), (ROOT / "clients" / "pyproject.toml", _EXTRAS)):
        project = tomllib.loads(path.read_text())["project"]
        lines = [
            *project["dependencies"],
            *(line for extra in extras for line in project["optional-dependencies"][extra]),
        ]
        found += [Requirement(line) for line in lines]
    return [one for one in found if not one.name.startswith("aircheck")]


@cache
def all_packages() -> tuple[Package, ...]:
    """The direct dependencies and all that these ask for, by name."""
    found: dict[str, Package] = {}
    seen: set[tuple[str, str]] = set()
    waiting = direct()
    while waiting:
        wanted = waiting.pop()
        for extra in sorted(wanted.extras | {""}):
            if (wanted.name.lower(), extra) in seen:
                continue
            seen.add((wanted.name.lower(), extra))
            package = package_of(wanted.name)
            found[package.name.lower()] = package
            for line in metadata.requires(wanted.name) or []:
                requirement = Requirement(line)
                if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                    waiting.append(requirement)
    return tuple(found[name] for name in sorted(found))


@cache
def package_of(name: str) -> Package:
    """Raises PackageNotFoundError."""
    data = metadata.metadata(name)
    classifiers = [line.split(" :: ")[-1] for line in data.get_all("Classifier", []) if line.startswith("License :: ")]
    named = [one for one in classifiers if one not in ("OSI Approved", "Other/Proprietary License")]
    (expression,) = data.get_all("License-Expression") or [""]
    stated = (data.get_all("License") or [""])[0].strip().partition("\n")[0]
    licence = expression or " or ".join(named) or stated
    return Package(data["Name"], re.sub(r"\s+", " ", licence) or "not stated in its metadata")


def weights() -> list[str]:
    """A paragraph for each set."""
    return [
        f"{one['what']}: {one['licence']}, by {one['by']}\n  {one['source']}\n"
        f"  carried by: {', '.join(one['carried_by'])}" + (f"; {one['changed']}" if "changed" in one else "")
        for one in yaml.safe_load((ROOT / "release" / "weights.yaml").read_text())
    ]


def notice() -> str:
    """The whole file."""
    packages = "\n".join(package.line for package in all_packages())
    return f"{_HEAD}\nWeights\n-------\n\n" + "\n".join(weights()) + f"\n\nPackages\n--------\n\n{packages}\n"


def missing(text: str) -> list[str]:
    """Lines of weights and of direct dependencies that the text has not."""
    lines = [*weights(), *(package_of(requirement.name).line for requirement in direct())]
    return [line for line in dict.fromkeys(lines) if f"\n{line}\n" not in f"{text}\n"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    if parser.parse_args().check:
        faults = missing(NOTICE.read_text())
        for line in faults:
            print(f"NOTICE has not: {line}", file=sys.stderr)
        return 1 if faults else 0
    NOTICE.write_text(notice())
    return 0


if __name__ == "__main__":
    sys.exit(main())
