"""What is laid out around Triton before it starts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from aircheck.triton import find


def test_models_find_libpython_and_no_other_library_of_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A distribution's library folder may hold a cuDNN or cuBLAS of another version than torch's."""
    monkeypatch.setenv("LD_LIBRARY_PATH", "/of/the/caller")
    triton = find()
    triton.arguments(tmp_path)
    folders = [Path(folder) for folder in triton.environment(tmp_path)["LD_LIBRARY_PATH"].split(os.pathsep)]
    assert str(folders[-1]) == "/of/the/caller"
    (library,) = (tmp_path / "lib").iterdir()
    assert library.name.startswith("libpython3")
    assert library.exists()
    assert library.resolve().parent not in [folder.resolve() for folder in folders]
