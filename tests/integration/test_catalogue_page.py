"""What docs/catalogue.md shows, run as it stands there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import polars as pl

from aircheck.settings import ROOT
from benchmarks.bulk.catalogue import free_port


def as_installed(folder: Path) -> Path:
    """A folder for the path, in which the server's distribution has the commands of this checkout's pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    commands = "".join(f"{name} = {value}\n" for name, value in project["entry-points"]["aircheck.commands"].items())
    made = folder / f"aircheck-{project['version']}.dist-info"
    made.mkdir(parents=True)
    (made / "METADATA").write_text(f"Metadata-Version: 2.1\nName: aircheck\nVersion: {project['version']}\n")
    (made / "entry_points.txt").write_text(f"[aircheck.commands]\n{commands}")
    return folder


def test_the_way_from_a_folder_and_a_feed_to_tables_and_another_policy(server, tmp_path):
    page = (ROOT / "docs" / "catalogue.md").read_text()
    script = re.search(r"```sh\n(.*?)```", page, re.DOTALL).group(1)
    for name in ("samples", "server_config"):
        (tmp_path / name).symlink_to(ROOT / name)
    command = tmp_path / "bin" / "aircheck"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m aircheck_client.cli "$@"\n')
    command.chmod(0o755)
    metadata = as_installed(tmp_path / "metadata")
    environment = os.environ | {
        "PATH": f"{command.parent}:{os.environ['PATH']}",
        "AIRCHECK_URL": server.url,
        "PYTHONPATH": os.pathsep.join([str(metadata), *sys.path]),
    }
    script = f"set -em\n{script}".replace("8000", str(free_port()))
    run = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=500
    )
    assert run.returncode == 1, run.stderr  # of the last command: something changes
    assert run.stderr.count("error") == 0
    summaries = [line for line in run.stdout.splitlines() if " done before" in line]
    assert [line.split(";")[0] for line in summaries] == [
        "1 heard, 0 of audio that was heard before, 0 done before, 0 failed",
        "0 heard, 0 of audio that was heard before, 1 done before, 0 failed",
        "0 heard, 1 of audio that was heard before, 0 done before, 0 failed",
    ]
    verdicts = pl.read_parquet(tmp_path / "records" / "tables" / "verdicts" / "**" / "*.parquet")
    assert sorted(verdicts["title"].fill_null("")) == ["", "Pilot"]
    assert set(verdicts["action"]) == {"block"}
    (vtt,) = (tmp_path / "records" / "tables" / "vtt").iterdir()
    assert "Welcome back" in vtt.read_text()
    assert "2 of 2 items get another action" in run.stdout
    by_category = run.stdout.partition("by category")[2]
    assert ": block → review" in by_category
