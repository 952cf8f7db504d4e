"""Whisper's large products in 8 bits: integers on a CPU, floats on a GPU that multiplies them (since Ada).

Whether a model bears that is measured when it is loaded, not assumed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from whisper.audio import N_SAMPLES, SAMPLE_RATE, log_mel_spectrogram

from aircheck.inference.whisper.decoding.encoder import WindowEncoder
from aircheck.inference.whisper.decoding.layers import LinearFn

Quantization = Literal["none", "int8", "fp8"]

LARGEST_ERROR = 0.1
"""Of the audio features, relative to the same encoder's without quantization; some 0.05 is the formats' own noise."""

_LARGEST_E4M3 = 448.0
_FIRST_WITH_FP8 = (8, 9)  # compute capability: Ada
_LARGEST_INT8 = 127
_ACTIVATION_STEPS = 63  # 7 bits: CPUs without VNNI add pairs of 8 by 8 bit products in 16 bits, which 8 would overflow


class QuantizationError(ValueError):
    """A model cannot be quantized as asked for: the device does not do it, or its features suffer."""


class Int8Linear:
    """A linear layer whose product is computed in int8 on an x86 CPU: [..., in] -> [..., out] in its input's dtype.

    One scale for each row of the weights, and one for each row of the input, anew each time: what a row gives does not
    depend on the rows beside it. Sums are taken in 32 bits (FBGEMM, arXiv:2101.05615).
    """

    def __init__(self, linear: nn.Linear) -> None:
        weight = linear.weight.detach().float()
        scales = (weight.abs().amax(dim=1) / _LARGEST_INT8).clamp(min=1e-12)
        rows = torch.quantize_per_channel(weight, scales, torch.zeros(len(weight), dtype=torch.int64), 0, torch.qint8)
        self._packed = torch.ops.quantized.linear_prepack(rows, None)
        self._bias = torch.zeros(()) if linear.bias is None else linear.bias.detach().float()

    def __call__(self, x: Tensor) -> Tensor:
        rows = x.float()
        # several times as fast as aminmax or the norm
        scales = torch.maximum(rows.amax(-1, keepdim=True), -rows.amin(-1, keepdim=True)).clamp_(min=1e-12)
        y = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32(
            rows / scales, 1 / _ACTIVATION_STEPS, _ACTIVATION_STEPS + 1, self._packed
        )
        return y.mul_(scales).add_(self._bias).to(x.dtype)


class Fp8Linear:
    """A linear layer whose product is computed in FP8: [..., in] -> [..., out] in the dtype of its input.

    The weights, and each row of the input anew each time, are scaled to the range of e4m3; sums are taken in higher
    precision (Micikevicius et al., FP8 Formats for Deep Learning, arXiv:2209.05433). What a row gives does not depend
    on the rows beside it.
    """

    def __init__(self, linear: nn.Linear) -> None:
        weight = linear.weight.detach().float()
        self._largest_weight = weight.abs().amax().clamp(min=1e-12)
        self._weight = _e4m3(weight / self._largest_weight)
        self._scale = torch.tensor(1 / _LARGEST_E4M3, device=weight.device)
        self._bias = linear.bias.detach()

    def __call__(self, x: Tensor) -> Tensor:
        rows = x.flatten(0, -2)
        largest = rows.abs().amax(dim=-1, keepdim=True).clamp(min=1e-6)
        y = torch._scaled_mm(
            _e4m3(rows.float() / largest),
            self._weight.t(),
            scale_a=self._scale,
            scale_b=self._scale * self._largest_weight,
            out_dtype=x.dtype,
        )
        return torch.addcmul(self._bias.to(x.dtype), y, largest).unflatten(0, x.shape[:-1])


def require_device(quantization: Quantization, device: torch.device) -> None:
    """Raises QuantizationError where products cannot be computed so."""
    if quantization == "int8" and (device.type != "cpu" or torch.backends.quantized.engine not in ("x86", "fbgemm")):
        raise QuantizationError(
            "whisper_quantization 'int8' needs an x86 CPU; on a GPU use fp8 or none, elsewhere none"
        )
    if quantization == "fp8" and (device.type != "cuda" or torch.cuda.get_device_capability(device) < _FIRST_WITH_FP8):
        raise QuantizationError(
            "whisper_quantization 'fp8' needs a GPU that multiplies 8-bit floats (Ada, Hopper or later); use none, or "
            "int8 on a CPU"
        )


@torch.inference_mode()
def quantize(
    encoder: WindowEncoder, product: Callable[[nn.Linear], LinearFn], n_mels: int, device: torch.device
) -> float:
    """Let the encoder compute its products so from now on; returns the relative error of its features.

    Measured on synthetic windows (a gliding tone in noise, noise, silence). Raises QuantizationError, the encoder
    unchanged, when it exceeds `LARGEST_ERROR`.
    """
    windows = _windows(n_mels).to(device)
    expected = encoder.encode(windows).float()
    plain = encoder.layers
    encoder.layers = [layer.mapped(product) for layer in plain]
    error = float((encoder.encode(windows).float() - expected).norm() / expected.norm())
    if not error <= LARGEST_ERROR:  # also refuses NaN
        encoder.layers = plain
        raise QuantizationError(
            f"with its products in 8 bits the encoder's features differ by {error:.1%}, more than {LARGEST_ERROR:.0%}; "
            f"set whisper_quantization to none for this checkpoint"
        )
    return error


def _e4m3(x: Tensor) -> Tensor:
    """Values from -1 to 1, scaled to e4m3's range and rounded to it."""
    return (x * _LARGEST_E4M3).clamp(-_LARGEST_E4M3, _LARGEST_E4M3).to(torch.float8_e4m3fn)


def _windows(n_mels: int) -> Tensor:
    """fp32 [3, n_mels, 3000]"""
    seconds = torch.arange(N_SAMPLES) / SAMPLE_RATE
    noise = torch.randn(N_SAMPLES, generator=torch.Generator().manual_seed(0)) * 0.05
    tone = 0.3 * torch.sin(2 * torch.pi * (150 + 20 * seconds) * seconds) * (torch.sin(9 * seconds) > 0)
    return torch.stack([log_mel_spectrogram(x, n_mels) for x in (tone + noise / 10, noise, torch.zeros(N_SAMPLES))])
