"""The acoustic classifier gives the same scores in bfloat16, which is forced, slowly, where a CPU lacks it."""

from __future__ import annotations

import numpy as np
import pytest
import whisper

from aircheck.inference import device
from aircheck.inference.acoustic_safety import embedded as acoustic
from support.speech import speak
from support.whisper_models import CPU
from training.acoustic_safety.sounds import SOUNDS

LARGEST_DIFFERENCE = 0.02


def with_bf16(monkeypatch: pytest.MonkeyPatch, is_fast: bool) -> None:
    monkeypatch.setattr(device, "cpu_has_fast_bf16", lambda: is_fast)


def test_acoustic_scores_do_not_suffer_from_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    heard = [speak("the train leaves at nine"), *(sound(rng).astype(np.float32) for sound in SOUNDS.values())]
    windows = np.stack([whisper.pad_or_trim(sound) for sound in heard])
    classifier = acoustic.EmbeddedAcousticClassifier.load(CPU)
    found = []
    for is_fast in (False, True):
        with_bf16(monkeypatch, is_fast)
        found.append(np.concatenate(classifier.probabilities(windows, [30.0] * len(windows))))
    assert 0 < np.abs(found[1] - found[0]).max() < LARGEST_DIFFERENCE
