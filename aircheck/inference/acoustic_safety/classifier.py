"""What every acoustic classifier offers, and the windows that it takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from aircheck.inference.acoustic_safety.errors import WaveformError
from aircheck_client.schema import AcousticFindings

SAMPLE_RATE = 16_000
WINDOW_SAMPLES = 30 * SAMPLE_RATE


@dataclass(frozen=True)
class Detections:
    """One batch's answers: scores fp32 [batch, len(EVENTS)], each event's highest probability, and the spans."""

    scores: NDArray[np.float32]
    findings: tuple[AcousticFindings, ...]


class AcousticClassifier(Protocol):
    """Finds sound events in windows. Implementations hold no state between calls."""

    name: str
    version: str
    events: tuple[str, ...]  # those that it can hear, in the order of EVENTS

    def classify(self, waveforms: NDArray[np.float32], durations_s: Sequence[float]) -> Detections:
        """Scores and findings of 16 kHz windows, shape = (batch, 480000), zero-padded after their durations, s."""
        ...

    def detect(self, waveforms: NDArray[np.float32], durations_s: Sequence[float]) -> list[AcousticFindings]:
        """The findings alone."""
        ...


def check_windows(waveforms: NDArray[np.float32], durations_s: Sequence[float]) -> None:
    """Raise `WaveformError` unless these are windows: [batch, 480000], finite, with durations in 0..30 s."""
    if waveforms.ndim != 2 or waveforms.shape[1] != WINDOW_SAMPLES:
        raise WaveformError(
            f"waveforms have shape {list(waveforms.shape)}; a batch of windows is [n, {WINDOW_SAMPLES}]"
        )
    if len(durations_s) != len(waveforms):
        raise WaveformError(f"{len(waveforms)} waveforms came with {len(durations_s)} durations; give one for each")
    for row, duration_s in enumerate(durations_s):
        problem = window_problem(waveforms[row], duration_s)
        if problem is not None:
            raise WaveformError(f"row {row}: {problem}")


def window_problem(waveform: NDArray[np.float32], duration_s: float) -> str | None:
    """What is wrong with one window, if anything; lets a server answer a bad row without failing its neighbours."""
    if not 0.0 <= duration_s <= WINDOW_SAMPLES / SAMPLE_RATE:  # also catches NaN
        return f"DURATION is {duration_s} s; a window lasts 0 to {WINDOW_SAMPLES // SAMPLE_RATE} s"
    if not np.isfinite(waveform).all():
        return "WAVEFORM holds NaN or infinity; samples are floats in -1..1"
    return None


def silence_after(waveforms: NDArray[np.float32], durations_s: Sequence[float]) -> NDArray[np.float32]:
    """The windows with whatever follows their durations set to zero, so that it cannot leak into the scores."""
    ends = np.round(np.asarray(durations_s) * SAMPLE_RATE)[:, None]
    return np.where(np.arange(waveforms.shape[1])[None] < ends, waveforms, np.float32(0.0))
