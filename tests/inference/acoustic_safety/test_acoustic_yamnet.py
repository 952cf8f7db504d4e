"""YAMNet's trunk in torch gives what Google's published `yamnet.tflite` gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from aircheck.inference.acoustic_safety.embedded import WEIGHTS_PATH, multiplied_out
from aircheck.inference.acoustic_safety.head import CLASSES
from aircheck.inference.acoustic_safety.yamnet import N_FEATURES, N_MELS, YamnetTrunk

SECONDS = np.arange(15_360) / 16_000
HARMONICS = sum(0.2 / k * np.sin(2 * np.pi * 220 * k * SECONDS) for k in range(1, 9))
WAIL = 0.3 * np.sin(2 * np.pi * (900 * SECONDS - 500 / (1.6 * np.pi) * np.cos(1.6 * np.pi * SECONDS)))
WAIL *= 1 + 0.3 * np.sin(2 * np.pi * 1800 * SECONDS)
# what LiteRT answered for them, in the file's 8 bits
PUBLISHED = [
    (HARMONICS, {"Music": 0.586, "Musical instrument": 0.199}),
    (WAIL, {"Musical instrument": 0.082, "Music": 0.082, "Siren": 0.059}),
]


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    return load_file(WEIGHTS_PATH)


@pytest.fixture(scope="module")
def trunk(weights: dict[str, torch.Tensor]) -> YamnetTrunk:
    trunk = YamnetTrunk()
    parts = {key.removeprefix("yamnet."): value for key, value in weights.items() if key.startswith("yamnet.")}
    trunk.load_state_dict(multiplied_out(parts))
    return trunk.requires_grad_(False)


@pytest.mark.parametrize(("sound", "published"), PUBLISHED, ids=["harmonics", "wail"])
def test_the_trunk_gives_the_published_scores(
    weights: dict[str, torch.Tensor], trunk: YamnetTrunk, sound: np.ndarray, published: dict[str, float]
) -> None:
    features = trunk(torch.from_numpy(sound.astype(np.float32))[None])
    assert features.shape == (1, 3, N_FEATURES)
    logits = features.mean(1) @ weights["head.classes.weight"].float().T + weights["head.classes.bias"].float()
    found = dict(zip(CLASSES, logits[0].sigmoid().tolist(), strict=True))
    for name, score in published.items():
        assert found[name] == pytest.approx(score, abs=0.08), name
    others = {name: score for name, score in found.items() if name not in published}
    assert max(others.values()) < 0.15


def test_a_tone_lies_in_its_mel_band(trunk: YamnetTrunk) -> None:
    bands = [
        int(
            trunk.log_mel(torch.from_numpy(np.sin(2 * np.pi * hertz * SECONDS).astype(np.float32))[None])
            .mean(1)
            .argmax()
        )
        for hertz in (200, 1000, 4000)
    ]
    assert bands == sorted(bands)
    assert bands[0] < 8 < bands[1] < N_MELS // 2 < bands[2]
