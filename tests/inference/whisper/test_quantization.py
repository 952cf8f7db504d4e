"""Whisper's matmuls in 8 bits.

torch has no matmul of 8-bit floats with a scale a row for a CPU: here a reference stands in for it, which takes exactly
what the CUDA kernel takes.
"""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor
from whisper.model import Whisper
from whisper.tokenizer import get_tokenizer

from aircheck.inference.whisper.decoding import quantization
from aircheck.inference.whisper.decoding.encoder import WindowEncoder
from aircheck.inference.whisper.decoding.options import DecodingOptions
from aircheck.inference.whisper.decoding.quantization import Fp8Linear, Int8Linear, QuantizationError, quantize
from aircheck.inference.whisper.engine import WhisperEngine, Window
from aircheck.inference.whisper.weights.checkpoint import LoadedWhisper, load
from support.whisper_models import CPU, random_whisper

LAYERS = [(384, 384), (512, 2048), (1280, 5120), (5120, 1280)]  # in and out, of Whisper's encoders

FORMATS = [(Int8Linear, torch.float32), (Int8Linear, torch.bfloat16), (Fp8Linear, torch.bfloat16)]


@pytest.fixture
def model() -> Whisper:
    return _in(torch.bfloat16, random_whisper(80, 51864))


@pytest.fixture(autouse=True)
def _fp8_matmul(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "_scaled_mm", _scaled_mm)


def _scaled_mm(
    a: Tensor, b: Tensor, *, scale_a: Tensor, scale_b: Tensor, bias: Tensor, out_dtype: torch.dtype
) -> Tensor:
    """The arithmetic of the row-wise kernel, in fp32, and its conditions (ATen/native/cuda/ScaledBlas.cpp)."""
    (m, k), n = a.shape, b.shape[1]
    assert a.dtype is b.dtype is torch.float8_e4m3fn
    assert a.is_contiguous()
    assert b.t().is_contiguous()
    assert k % 16 == n % 16 == 0
    assert scale_a.shape == (m, 1)
    assert scale_b.shape == (1, n)
    assert scale_a.dtype is scale_b.dtype is torch.float32
    assert scale_a.is_contiguous()
    assert scale_b.is_contiguous()
    assert bias.dtype is out_dtype is torch.bfloat16
    return ((a.float() @ b.float()) * scale_a * scale_b + bias.float()).to(out_dtype)


def _in(dtype: torch.dtype, model: Whisper) -> Whisper:
    """A copy with its matrices in this dtype and the rest in fp32, as checkpoints are loaded."""
    model = copy.deepcopy(model)
    for module in model.modules():
        if isinstance(module, torch.nn.Linear | torch.nn.Conv1d | torch.nn.Embedding):
            module.to(dtype)
    return model


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
@pytest.mark.parametrize(("n_in", "n_out"), LAYERS)
@pytest.mark.parametrize("input_scale", [1e-3, 1.0, 1e3])
def test_an_fp8_layer_errs_by_no_more_than_its_roundings(n_in: int, n_out: int, input_scale: float) -> None:
    """e4m3 has 3 bits of mantissa, so each factor is off by a sixteenth of itself, or near zero by half the smallest
    step, 2⁻¹⁰ of a range of 448; the output is rounded to bf16. By row, whatever the other rows are."""
    torch.manual_seed(0)
    linear = torch.nn.Linear(n_in, n_out).to(torch.bfloat16)
    linear.bias.zero_()
    linear.weight.mul_(torch.logspace(-6, 0, n_out)[:, None])  # channels of very different sizes
    x = (torch.randn(24, n_in) * torch.logspace(-2, 2, 24)[:, None] * input_scale).to(torch.bfloat16)
    ours, exact = Fp8Linear(linear)(x).double(), linear.double()(x.double())
    weight, rows = linear.weight.abs(), x.double().abs()
    row_errors = rows / 16 + rows.amax(dim=1, keepdim=True) / 448 * 2**-10
    weight_errors = weight / 16 + weight.amax(dim=1, keepdim=True) / 448 * 2**-10
    bound = row_errors @ weight.t() + rows @ weight_errors.t() + row_errors @ weight_errors.t() + exact.abs() / 256
    assert ((ours - exact).abs() <= bound).all()
    typical = rows.norm(dim=1, keepdim=True) * weight.norm(dim=1) * n_in**-0.5  # of independent inputs
    relative = ((ours - exact) / typical).square().mean(dim=0).sqrt()
    assert relative.max() < 0.08, "a channel of small weights is as exact as the others"


@torch.inference_mode()
def test_fp8_refuses_sizes_that_its_kernel_does_not_take() -> None:
    with pytest.raises(QuantizationError, match="multiples of 16.*64 to 40"):
        Fp8Linear(torch.nn.Linear(64, 40))


@torch.inference_mode()
def test_sums_in_int8_do_not_overflow() -> None:
    """Pairs of products are added in 16 bits on CPUs without VNNI; the largest ones must fit."""
    linear = torch.nn.Linear(512, 8, bias=False)
    linear.weight.fill_(1.0)
    assert Int8Linear(linear)(torch.ones(1, 512))[0] == pytest.approx([512.0] * 8, rel=1e-3)


@torch.inference_mode()
@pytest.mark.parametrize("make_linear", [Int8Linear, Fp8Linear])
def test_a_quantized_encoder_is_used_and_measured_against_itself(model: Whisper, make_linear: type) -> None:
    encoder, log_mel = WindowEncoder(model.encoder), torch.randn(1, 80, 3000)
    before = encoder.encode(log_mel)
    divergence = quantize(encoder, make_linear, model)
    assert 0 < divergence < quantization.MAX_DIVERGENCE
    assert not torch.equal(encoder.encode(log_mel), before)


class _Broken(Int8Linear):
    """What a kernel that overflows gives: noise of the right scale."""

    def __call__(self, x: Tensor) -> Tensor:
        found = super().__call__(x)
        return torch.randn(found.shape, generator=torch.Generator().manual_seed(0)).to(found.dtype) * found.std()


@torch.inference_mode()
def test_an_encoder_that_predicts_something_else_in_8_bits_is_refused_and_left_as_it_was(model: Whisper) -> None:
    encoder, log_mel = WindowEncoder(model.encoder), torch.randn(1, 80, 3000)
    before = encoder.encode(log_mel)
    with pytest.raises(QuantizationError, match="whisper_quantization"):
        quantize(encoder, _Broken, model)
    assert torch.equal(encoder.encode(log_mel), before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
def test_the_packaged_base_bears_int8(dtype: torch.dtype) -> None:
    whisper = load("base", CPU, dtype)
    assert quantize(WindowEncoder(whisper.model.encoder), Int8Linear, whisper.model) < quantization.MAX_DIVERGENCE


def test_8_bits_are_refused_where_they_cannot_be_computed() -> None:
    with pytest.raises(QuantizationError, match=r"int8.*x86"):
        quantization.require_device("int8", torch.device("cuda"))
    with pytest.raises(QuantizationError, match=r"fp8.*GPU"):
        WhisperEngine(load("base", CPU, torch.float32), quantization="fp8")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
def test_a_windows_text_in_int8_does_not_depend_on_the_windows_beside_it(windows: Tensor, dtype: torch.dtype) -> None:
    """What is not a matmul is in fp32 or bf16; on noise too."""
    model = _in(dtype, random_whisper(80, 51865))
    whisper = LoadedWhisper(model, get_tokenizer(True, num_languages=99), "random", "0")
    sent = [Window(log_mel, 30.0) for log_mel in windows[[0, 2, 4, 5]]]  # speech, noise and a tone: as many as slots
    options = DecodingOptions(temperatures=(0.0,), seek=False, max_tokens=20)
    with WhisperEngine(whisper, options, n_slots=4, threads=1) as plain:
        without = plain.decode(sent)
    with WhisperEngine(whisper, options, n_slots=4, threads=1, quantization="int8") as engine:
        together = engine.decode(sent)
        alone = [engine.decode([window])[0] for window in sent]
    for window, by_itself in zip(together, alone, strict=True):
        assert window == by_itself
    assert together != without, "the quantization that was asked for is not used"
