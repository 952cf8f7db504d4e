"""The windows that engines are compared on, and how many tokens random weights are made to sample in each."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from pathlib import Path
from statistics import NormalDist

import numpy as np
import torch
import whisper

from benchmarks.wer import recordings
from preprocessing.clip import N_SAMPLES

LENGTHS = {"median": 53.5, "sigma": 0.6, "least": 8, "most": 200}
"""A lognormal distribution of tokens a window, clipped; its mean is about 64."""


def forced_lengths(n_windows: int, seed: int) -> list[int]:
    """Numbers of tokens a window: evenly spaced quantiles of the distribution, so that their mean holds for any count,
    in an order of the seed's.
    """
    normal = NormalDist(math.log(LENGTHS["median"]), LENGTHS["sigma"])
    drawn = [math.exp(normal.inv_cdf((index + 0.5) / n_windows)) for index in range(n_windows)]
    lengths = [round(min(max(length, LENGTHS["least"]), LENGTHS["most"])) for length in drawn]
    random.Random(seed).shuffle(lengths)
    return lengths


def speech_windows(manifest: Path, most: int, language: str = "en") -> list[np.ndarray]:
    """Windows of one language's recordings, evenly spread over a manifest: fp32 [samples] at 16 kHz each."""
    spoken = [one for one in recordings.read(manifest) if one.language == language]
    return [recordings.samples(one.path)[:N_SAMPLES] for one in recordings.first(spoken, most)]


def log_mels_of(samples: Sequence[np.ndarray], n_mels: int) -> np.ndarray:
    """openai-whisper's log-mel of each window, padded to 30 s: fp32 [windows, n_mels, 3000]."""
    return np.stack(
        [
            whisper.log_mel_spectrogram(whisper.pad_or_trim(torch.from_numpy(np.array(one))), n_mels).numpy()
            for one in samples
        ]
    )
