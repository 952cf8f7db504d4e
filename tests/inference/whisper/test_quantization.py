"""Whisper's products in 8 bits. torch multiplies 8-bit floats on a CPU too, slowly, so both are tested anywhere."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor
from whisper.model import Whisper

from aircheck.inference.whisper.decoding import quantization
from aircheck.inference.whisper.decoding.encoder import WindowEncoder
from aircheck.inference.whisper.decoding.options import DecodingOptions
from aircheck.inference.whisper.decoding.quantization import Fp8Linear, Int8Linear, QuantizationError, quantize
from aircheck.inference.whisper.engine import WhisperEngine, Window
from aircheck.inference.whisper.weights.checkpoint import LoadedWhisper, load
from support.whisper_models import CPU, EMBEDDED_CHECKPOINT, random_whisper

FORMATS = [(Int8Linear, torch.float32), (Int8Linear, torch.bfloat16), (Fp8Linear, torch.bfloat16)]


@pytest.fixture
def model() -> Whisper:
    return copy.deepcopy(random_whisper(80, 51864)).bfloat16()


@torch.inference_mode()
@pytest.mark.parametrize(("product", "dtype"), FORMATS)
def test_a_layer_in_8_bits_is_near_the_layer_it_stands_for(product: type, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    linear = torch.nn.Linear(256, 512).to(dtype)
    x = torch.randn(3, 50, 256).to(dtype)
    expected, ours = linear(x), product(linear)(x)
    assert ours.shape == expected.shape
    assert ours.dtype is dtype
    assert 0 < (ours.float() - expected.float()).norm() / expected.float().norm() < 0.05


@torch.inference_mode()
@pytest.mark.parametrize(("product", "dtype"), FORMATS)
def test_a_row_in_8_bits_does_not_depend_on_the_rows_beside_it(product: type, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    linear = product(torch.nn.Linear(64, 96).to(dtype))
    loud, quiet = (torch.randn(1, 64) * 1e4).to(dtype), (torch.randn(1, 64) * 1e-3).to(dtype)
    together = linear(torch.cat([loud, quiet]))
    assert torch.equal(together, torch.cat([linear(loud), linear(quiet)]))


@torch.inference_mode()
@pytest.mark.parametrize(("product", "dtype"), FORMATS)
def test_silence_and_absent_weights_stay_zero_in_8_bits(product: type, dtype: torch.dtype) -> None:
    linear = torch.nn.Linear(64, 16).to(dtype)
    linear.weight[1] = 0
    zeros, noise = torch.zeros(1, 64, dtype=dtype), torch.randn(1, 64).to(dtype)
    assert torch.equal(product(linear)(zeros)[0], linear.bias)
    assert product(linear)(noise)[0, 1] == linear.bias[1]


@torch.inference_mode()
def test_sums_in_int8_do_not_overflow() -> None:
    """Pairs of products are added in 16 bits on CPUs without VNNI; the largest ones must fit."""
    linear = torch.nn.Linear(512, 8, bias=False)
    linear.weight.fill_(1.0)
    assert Int8Linear(linear)(torch.ones(1, 512))[0] == pytest.approx([512.0] * 8, rel=1e-3)


@torch.inference_mode()
@pytest.mark.parametrize("product", [Int8Linear, Fp8Linear])
def test_the_quantized_encoder_is_measured_against_itself(model: Whisper, product: type) -> None:
    encoder, log_mel = WindowEncoder(model.encoder), torch.randn(1, 80, 3000)
    before = encoder.encode(log_mel)
    error = quantize(encoder, product, 80, CPU)
    assert 0 < error < quantization.LARGEST_ERROR
    assert not torch.equal(encoder.encode(log_mel), before)


@torch.inference_mode()
def test_an_encoder_that_does_not_bear_it_is_refused_and_left_as_it_was(
    model: Whisper, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder, log_mel = WindowEncoder(model.encoder), torch.randn(1, 80, 3000)
    before = encoder.encode(log_mel)
    monkeypatch.setattr(quantization, "LARGEST_ERROR", 1e-4)
    with pytest.raises(QuantizationError, match="whisper_quantization"):
        quantize(encoder, Fp8Linear, 80, CPU)
    torch.testing.assert_close(encoder.encode(log_mel), before)


def test_8_bits_are_refused_where_they_cannot_be_computed(embedded: LoadedWhisper) -> None:
    with pytest.raises(QuantizationError, match=r"int8.*x86"):
        quantization.require_device("int8", torch.device("cuda"))
    with pytest.raises(QuantizationError, match=r"fp8.*GPU"):
        WhisperEngine(embedded, quantization="fp8")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
def test_what_a_window_says_in_int8_does_not_depend_on_the_windows_beside_it(
    windows: Tensor, dtype: torch.dtype
) -> None:
    """What is not a matmul is in fp32 or bf16; on noise too."""
    sent = [Window(log_mel, 30.0) for log_mel in windows]
    whisper = load("embedded", CPU, dtype, embedded=EMBEDDED_CHECKPOINT)
    with WhisperEngine(whisper, DecodingOptions(temperatures=(0.0,)), n_slots=4, threads=1) as plain:
        without = plain.decode(sent)
    with WhisperEngine(
        whisper, DecodingOptions(temperatures=(0.0,)), n_slots=4, threads=1, quantization="int8"
    ) as engine:
        together = engine.decode(sent)
        alone = [engine.decode([window])[0] for window in sent]
    for window, by_itself in zip(together, alone, strict=True):
        assert window.tokens == by_itself.tokens
        assert window.avg_logprob == pytest.approx(by_itself.avg_logprob, abs=1e-4)
    assert together != without, "the quantization that was asked for is not used"
