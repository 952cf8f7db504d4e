"""The encoder in 8-bit floats. torch multiplies them on a CPU too, slowly, so the arithmetic is tested anywhere."""

from __future__ import annotations

import copy

import pytest
import torch
from whisper.model import Whisper

from aircheck.inference.whisper import fp8
from aircheck.inference.whisper.encoder import WindowEncoder
from support.whisper_models import CPU, random_whisper


@pytest.fixture
def model() -> Whisper:
    return copy.deepcopy(random_whisper(80, 51864)).bfloat16()


@torch.inference_mode()
def test_a_layer_in_fp8_is_near_the_layer_it_stands_for() -> None:
    torch.manual_seed(0)
    linear = torch.nn.Linear(256, 512).bfloat16()
    x = torch.randn(3, 50, 256).bfloat16()
    expected, ours = linear(x).float(), fp8.Fp8Linear(linear)(x).float()
    assert ours.shape == expected.shape
    assert 0 < (ours - expected).norm() / expected.norm() < 0.05


@torch.inference_mode()
def test_the_encoder_in_fp8_is_measured_against_itself(model: Whisper) -> None:
    encoder, log_mel = WindowEncoder(model.encoder), torch.randn(1, 80, 3000)
    before = encoder.encode(log_mel)
    error = fp8.use(encoder, 80, CPU)
    assert 0 < error < fp8.LARGEST_ERROR
    assert not torch.equal(encoder.encode(log_mel), before)


@torch.inference_mode()
def test_an_encoder_that_does_not_bear_fp8_is_refused_and_left_as_it_was(
    model: Whisper, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder, log_mel = WindowEncoder(model.encoder), torch.randn(1, 80, 3000)
    before = encoder.encode(log_mel)
    monkeypatch.setattr(fp8, "LARGEST_ERROR", 1e-4)
    with pytest.raises(fp8.Fp8AccuracyError, match="whisper_fp8_encoder"):
        fp8.use(encoder, 80, CPU)
    torch.testing.assert_close(encoder.encode(log_mel), before)
