"""Recordings after public bug reports, which lie beside the checkout and are not part of it."""

from pathlib import Path

import pytest

CASES = Path(__file__).parents[3] / "shared" / "cases"


def case(name: str) -> bytes:
    """The recording's bytes; skips the test where the folder is not there."""
    path = CASES / name
    if not path.exists():
        pytest.skip(f"the recording {name} is not here: ../shared/cases lies beside the checkout in CI")
    return path.read_bytes()
