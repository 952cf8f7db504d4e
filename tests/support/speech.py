"""Synthetic speech for tests."""

from __future__ import annotations

import numpy as np

from training.espeak import Voice, say


def speak(text: str, voice: str = "en-us", words_per_minute: int = 150) -> np.ndarray:
    """fp32 [samples] at 16 kHz; `voice` is an espeak-ng voice, with a variant if wanted ("en-us+f3"). Repeatable."""
    language, _, variant = voice.partition("+")
    return say(text, Voice(language, variant, words_per_minute))
