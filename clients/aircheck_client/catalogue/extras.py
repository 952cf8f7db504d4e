"""Packages that only catalogues need: imported when first used, and named where they are missing."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from aircheck_client.errors import AircheckError


class MissingPackageError(AircheckError, ImportError):
    """A package of an extra is not installed; the message has the command that installs it."""


def imported(name: str, extra: str = "bulk") -> Any:
    """A module by its full name. `extra`: the one that installs it. Raises MissingPackageError."""
    try:
        return import_module(name)
    except ImportError as error:
        missing = error.name or name
        message = f"this needs the package {missing!r}: pip install 'aircheck-client[{extra}]'"
        raise MissingPackageError(message) from None
