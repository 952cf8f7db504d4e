"""What can be wrong with a load, before any of it is sent."""

from __future__ import annotations


class LoadError(ValueError):
    """An option of the load cannot be used; the message names it and the remedy."""
