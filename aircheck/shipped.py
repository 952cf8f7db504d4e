"""Where the folders lie that are no Python packages: a wheel carries them inside `aircheck/`, a checkout beside it."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
ROOT = _PACKAGE.parent
"""The checkout; of an installed wheel, site-packages."""


def shipped(name: str) -> Path:
    """The path of a file or folder that pyproject.toml's `force-include` names."""
    inside = _PACKAGE / name
    return inside if inside.exists() else ROOT / name


MODEL_REPOSITORY = shipped("model_repository")
SERVER_CONFIG = shipped("server_config")
