"""Clips to send: the windows of a recording, as the episode model would cut them."""

from __future__ import annotations

from pathlib import Path

from preprocessing.container import Limits
from preprocessing.windows import Episode

_LIMITS = Limits(max_bytes=2**31 - 1, max_duration_s=12 * 3600, max_channels=8, max_sample_rate_hz=192_000)


def sample_clips(recording: Path, max_s: float = 10.0) -> list[bytes]:
    """The windows of `recording`, of at most `max_s` seconds each, as WAVE files."""
    return [window.wav() for window in Episode(recording.read_bytes(), _LIMITS).windows(max_s)]
