"""What can go wrong with a measurement of capacity."""

from __future__ import annotations


class CapacityError(RuntimeError):
    """It cannot be measured, planned or read; the message names what and the remedy."""
