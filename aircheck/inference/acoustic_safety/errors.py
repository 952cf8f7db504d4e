"""What can go wrong when an acoustic classifier is loaded or used."""

from __future__ import annotations


class AcousticError(Exception):
    """Base of the package's errors."""


class WeightsError(AcousticError):
    """A weights file or checkpoint is missing, unsafe or not what it should be."""


class LabelMapError(AcousticError):
    """A label map does not fit its schema or its checkpoint."""


class WaveformError(AcousticError, ValueError):
    """Waveforms or durations have a shape or value that no window can have."""
