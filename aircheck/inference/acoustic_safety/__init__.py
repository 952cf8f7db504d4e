"""Sound events in windows: gunshot, explosion, scream, siren, breaking glass; and speech, music, silence as context."""

from aircheck.inference.acoustic_safety.classifier import AcousticClassifier, Detections, window_problem
from aircheck.inference.acoustic_safety.errors import AcousticError, LabelMapError, WaveformError, WeightsError
from aircheck.inference.acoustic_safety.events import CONTEXT_EVENTS, EVENTS, SAFETY_EVENTS
from aircheck.inference.acoustic_safety.loading import load

__all__ = [
    "CONTEXT_EVENTS",
    "EVENTS",
    "SAFETY_EVENTS",
    "AcousticClassifier",
    "AcousticError",
    "Detections",
    "LabelMapError",
    "WaveformError",
    "WeightsError",
    "load",
    "window_problem",
]
