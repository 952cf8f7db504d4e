"""Same audio, same verdict: the classifiers' scores do not depend on what shares their batch, bit for bit on a CPU."""

from __future__ import annotations

import numpy as np
import pytest

from aircheck.inference import device
from aircheck.inference.acoustic_safety.embedded import EmbeddedAcousticClassifier
from aircheck.inference.text_safety.embedded import EmbeddedTextClassifier
from support.whisper_models import CPU


@pytest.mark.parametrize("is_fast_bf16", [False, True], ids=["fp32", "bf16"])
def test_acoustic_scores(monkeypatch: pytest.MonkeyPatch, is_fast_bf16: bool) -> None:
    monkeypatch.setattr(device, "cpu_has_fast_bf16", lambda: is_fast_bf16)
    classifier = EmbeddedAcousticClassifier.load(CPU)
    noise = np.random.default_rng(0).normal(0, 0.1, (16, 480_000)).astype(np.float32)
    alone = classifier.probabilities(noise[:1], [30.0])[0]
    for n in (2, 3, 16):
        assert np.array_equal(classifier.probabilities(noise[:n], [30.0] * n)[0], alone), n


def test_text_scores() -> None:
    classifier = EmbeddedTextClassifier(CPU)
    texts = ["welcome back", "i'm going to kill you, i swear", "mix the flour with water and let it rest " * 9]
    others = [f"line {index} about nothing much " + "and so on " * (index % 30) for index in range(70)]
    alone = np.concatenate([classifier.score([text]) for text in texts])
    for n in (0, 1, 70):
        assert np.array_equal(classifier.score([*texts, *others[:n]])[:3], alone), n
        assert np.array_equal(classifier.score([*others[:n], *texts])[n:], alone), "the place in the batch"
