"""Whisper models and windows that the tests of this folder share."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from whisper.model import Whisper

from aircheck.inference.whisper.weights.checkpoint import LoadedWhisper, load
from support.audio import RATE_HZ
from support.speech import speak
from support.whisper_models import CPU, log_mel, random_loaded, random_whisper


@pytest.fixture(scope="session")
def base() -> LoadedWhisper:
    """OpenAI's weights, for what depends on the words; a window takes seconds."""
    return load("base", CPU, torch.float32)


@pytest.fixture(scope="session")
def small() -> LoadedWhisper:
    """A model of random weights, for what does not depend on the words."""
    return random_loaded()


@pytest.fixture(scope="session", params=[(80, 51865), (128, 51866)], ids=["80-mels", "128-mels"])
def multilingual(request: pytest.FixtureRequest) -> Whisper:
    """A multilingual model of random weights, with the shapes of `base` or of `large-v3`."""
    n_mels, n_vocab = request.param
    return random_whisper(n_mels, n_vocab)


@pytest.fixture(scope="session")
def sounds() -> list[np.ndarray]:
    """Windows of every kind, at 16 kHz: speech short and long, cut off, noise, a tone, silence."""
    rng = np.random.default_rng(0)
    pause = np.zeros(RATE_HZ // 2, np.float32)
    one = speak("the old house at the end of the street has been sold twice")
    two = speak("she bought bread, milk and a bottle of water", "en-us+f3", 180)
    three = speak("there were seven people waiting in the small room", "en-gb-x-rp+m2", 130)
    tone = np.sin(np.arange(5 * RATE_HZ) * 2 * np.pi * 440 / RATE_HZ).astype(np.float32) / 2
    return [
        one,
        two[: len(two) // 2],
        np.concatenate([two, pause, three, pause, one]),
        np.concatenate([three, pause, two])[: 4 * RATE_HZ],
        rng.normal(0, 0.1, 10 * RATE_HZ).astype(np.float32),
        tone,
        np.zeros(2 * RATE_HZ, np.float32),
    ]


@pytest.fixture(scope="session")
def windows(sounds: list[np.ndarray]) -> Tensor:
    """The sounds' log-mels, [B, 80, 3000]."""
    return torch.stack([log_mel(sound) for sound in sounds])
