"""The classifiers on a GPU score what they score on a CPU, whatever shares their batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from aircheck.inference.acoustic_safety.embedded import EmbeddedAcousticClassifier
from aircheck.inference.text_safety.embedded import EmbeddedTextClassifier
from aircheck.inference.text_safety.service import load
from aircheck.settings import ROOT
from preprocessing.clip import N_SAMPLES
from support.audio import RATE_HZ
from support.guards import save_guard
from support.whisper_models import CPU

CUDA = torch.device("cuda", 0)
TEXTS = [
    "welcome back to the show",
    "i am going to kill you, i swear",
    "mix the flour with water and let it rest for an hour",
    "nobody wants you here, go back to where you came from",
    "ich bringe dich um",
    "the weather stays dry until the weekend",
]


def test_text_scores() -> None:
    on_cpu, on_gpu = EmbeddedTextClassifier(CPU), EmbeddedTextClassifier(CUDA)
    others = [f"line {index} about nothing much " + "and so on " * (index % 30) for index in range(70)]
    expected, found = on_cpu.score(TEXTS), on_gpu.score(TEXTS)
    assert found == pytest.approx(expected, abs=5e-3)
    assert expected.max() > 0.5
    assert on_gpu.score([*others, *TEXTS])[len(others) :] == pytest.approx(found, abs=1e-5)


def test_acoustic_scores(sounds: list[np.ndarray]) -> None:
    on_cpu, on_gpu = EmbeddedAcousticClassifier.load(CPU), EmbeddedAcousticClassifier.load(CUDA)
    few = sounds[:10]
    waveforms = np.stack([np.pad(sound[:N_SAMPLES], (0, N_SAMPLES - len(sound[:N_SAMPLES]))) for sound in few])
    durations_s = [min(30.0, len(sound) / RATE_HZ) for sound in few]
    expected, found = on_cpu.probabilities(waveforms, durations_s), on_gpu.probabilities(waveforms, durations_s)
    off = np.concatenate([np.abs(a - b).ravel() for a, b in zip(expected, found, strict=True)])
    assert np.quantile(off, 0.99) < 0.05  # products in bf16 on both
    alone = on_gpu.probabilities(waveforms[:1], durations_s[:1])[0]
    assert np.array_equal(alone, found[0])


@pytest.mark.parametrize(
    ("kind", "card"),
    [("qwen3", "guard_qwen3guard"), ("llama", "guard_llama_guard_3"), ("gemma2", "guard_shieldgemma")],
)
def test_guards_answer_in_bf16_as_in_fp32(tmp_path: Path, kind: str, card: str) -> None:
    folder, labels = save_guard(tmp_path / kind, kind), ROOT / "server_config" / "labels" / f"{card}.yaml"
    on_cpu, on_gpu = (load(str(folder), labels, device) for device in (CPU, CUDA))
    assert on_gpu.score(TEXTS) == pytest.approx(on_cpu.score(TEXTS), abs=0.1)
