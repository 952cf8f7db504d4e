"""Tests that need a GPU: skipped, as a whole, where torch sees none.

    pytest tests/gpu

They ask of CUDA what the tests beside them ask of a CPU, and what only CUDA can answer: captured steps, streams, FP8, a
lost context.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from whisper.model import Whisper

from aircheck.inference.whisper.weights.checkpoint import LoadedWhisper, load
from benchmarks.wer.recordings import LIMITS
from preprocessing.windows import Episode
from support.audio import RATE_HZ
from support.whisper_models import CPU, log_mel, random_whisper

CUDA = torch.device("cuda", 0)
CLIPS = sorted((Path(__file__).parents[2] / "samples" / "quality" / "audio").glob("*.opus"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not torch.cuda.is_available():
        here = Path(__file__).parent
        for item in items:
            if here in item.path.parents:
                item.add_marker(pytest.mark.skip(reason="torch sees no GPU"))


@pytest.fixture(scope="session")
def base_on_cpu() -> LoadedWhisper:
    """OpenAI's weights in fp32."""
    return load("base", CPU, torch.float32)


@pytest.fixture(scope="session")
def base() -> LoadedWhisper:
    return load("base", CUDA, torch.float32)


@pytest.fixture(scope="session")
def base_bf16() -> LoadedWhisper:
    return load("base", CUDA, torch.bfloat16)


@pytest.fixture(scope="session")
def random_on_gpu() -> Whisper:
    return random_whisper(80, 51864, n_state=64).cuda()


@pytest.fixture(scope="session")
def sounds() -> list[np.ndarray]:
    """The committed clips' windows, every other one cut off somewhere: fp32 at 16 kHz."""
    rng = np.random.default_rng(4)
    episodes = [Episode(path.read_bytes(), LIMITS) for path in CLIPS]
    found = [window.samples for episode in episodes for window in episode.windows(30.0)]
    return [clip[: rng.integers(len(clip) // 4, len(clip))] if at % 2 else clip for at, clip in enumerate(found)]


@pytest.fixture(scope="session")
def durations_s(sounds: list[np.ndarray]) -> list[float]:
    return [len(sound) / RATE_HZ for sound in sounds]


@pytest.fixture(scope="session")
def log_mels(sounds: list[np.ndarray]) -> Tensor:
    """fp32 [B, 80, 3000] on the host, as requests bring them."""
    return torch.stack([log_mel(sound) for sound in sounds])
