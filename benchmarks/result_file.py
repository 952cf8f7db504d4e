"""The JSON file that a benchmark writes, and the options that say where it is and show an earlier one."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


def write(report: dict[str, Any], path: Path) -> None:
    """Write the report, folders included; also what a long run has so far, so that one broken off leaves something."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1) + "\n")


def read(path: Path) -> dict[str, Any]:
    """What is there already, for a benchmark whose parts are measured one by one; empty where nothing is."""
    return json.loads(path.read_text()) if path.exists() else {}


def add_options(parser: argparse.ArgumentParser, path: Path, markdown: Callable[[dict[str, Any]], str]) -> None:
    """--out, where the result goes, and --show, which prints an earlier result's tables and does nothing else."""

    class Show(argparse.Action):
        def __call__(
            self,
            parser: argparse.ArgumentParser,
            namespace: argparse.Namespace,
            values: str | Sequence[Any] | None,
            option_string: str | None = None,
        ) -> None:
            print(markdown(json.loads(Path(str(values)).read_text())))
            parser.exit()

    parser.add_argument("--out", type=Path, default=path)
    parser.add_argument("--show", action=Show, metavar="RESULT.json", help="only print the tables of an earlier result")
