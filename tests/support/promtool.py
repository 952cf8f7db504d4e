"""Prometheus's own tool for rules and configuration."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def promtool(*arguments: str | Path) -> None:
    """Fails the test where the tool finds a fault; skips it where there is no tool."""
    tool = shutil.which("promtool") or shutil.which("promtool", path=Path(sys.executable).parent)
    if tool is None:
        pytest.skip("no promtool: `make promtool` unpacks Debian's")
    run = subprocess.run([tool, *map(str, arguments)], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stdout + run.stderr
