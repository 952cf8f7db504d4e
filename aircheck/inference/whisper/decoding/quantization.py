"""Whisper's large matmuls in 8 bits: integers on a CPU, floats on a GPU that multiplies them (since Ada).

Whether a model bears that is a question of words: `benchmarks.wer` answers it. What is checked when a model is loaded
is that its predictions are still its own, which a broken checkpoint or kernel fails.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from whisper.audio import N_SAMPLES, SAMPLE_RATE, log_mel_spectrogram
from whisper.model import TextDecoder, Whisper

from aircheck.inference.whisper.decoding.encoder import WindowEncoder
from aircheck.inference.whisper.decoding.layers import LinearFn

Quantization = Literal["none", "int8", "fp8"]

MAX_DIVERGENCE = 0.1
"""Kullback-Leibler divergence of the next token's distribution from the unquantized model's, mean over a text, in nats.

On the window measured, `base` has 0.013 with 8 bits of input, 0.017 with 7, 0.29 with 5; on speech it is a tenth of it.
"""

_LARGEST_E4M3 = 448.0
_FIRST_WITH_FP8 = (8, 9)  # compute capability: Ada
_FP8_MULTIPLE = 16  # of rows and columns: torch's kernel copies 16 bytes at a time
_LARGEST_INT8 = 127
_N_CHECKED_TOKENS = 32


class QuantizationError(ValueError):
    """A model cannot be quantized as asked for: the device does not do it, or its features suffer."""


class Int8Linear:
    """A linear layer whose matmul is computed in int8 on an x86 CPU: [..., in] -> [..., out] in its input's dtype.

    One scale for each row of the weights, and one for each row of the input, anew each time: what a row gives does not
    depend on the rows beside it. It accumulates in 32 bits (FBGEMM, arXiv:2101.05615).
    """

    input_steps = _LARGEST_INT8 if torch.cpu._is_vnni_supported() else _LARGEST_INT8 // 2
    """To either side of zero. CPUs without VNNI add pairs of 8 by 8 bit products in 16 bits: 7 bits of input there."""

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
            rows / scales, 1 / self.input_steps, self.input_steps + 1, self._packed
        )
        return y.mul_(scales).add_(self._bias).to(x.dtype)


class Fp8Linear:
    """A linear layer whose matmul is computed in FP8 on a GPU: [..., in] -> [..., out] in the dtype of its input.

    One scale for each row of the weights, and one for each row of the input, anew each time, to the range of e4m3; it
    accumulates in higher precision (Micikevicius et al., FP8 Formats for Deep Learning, arXiv:2209.05433). What a row
    gives does not depend on the rows beside it.

    The input is read twice, for its rows' largest values and to be rounded; the kernel applies scales and bias.
    """

    def __init__(self, linear: nn.Linear) -> None:
        """Raises QuantizationError for sizes that the kernel does not take."""
        weight = linear.weight.detach().float()
        if weight.shape[0] % _FP8_MULTIPLE or weight.shape[1] % _FP8_MULTIPLE:
            raise QuantizationError(
                f"whisper_quantization 'fp8' takes layers of multiples of {_FP8_MULTIPLE}, and this checkpoint has one "
                f"of {weight.shape[1]} to {weight.shape[0]}; set it to none"
            )
        rows, scales = _e4m3(weight)
        self._weight, self._scales = rows.t(), scales.t().contiguous()
        # of the kernel's output, which is bf16 whatever its input was
        self._bias = None if linear.bias is None else linear.bias.detach().to(torch.bfloat16)

    def __call__(self, x: Tensor) -> Tensor:
        rows, scales = _e4m3(x.flatten(0, -2))
        y = torch._scaled_mm(
            rows, self._weight, scale_a=scales, scale_b=self._scales, bias=self._bias, out_dtype=torch.bfloat16
        )
        return y.to(x.dtype).unflatten(0, x.shape[:-1])


def require_device(quantization: Quantization, device: torch.device) -> None:
    """Raises QuantizationError where matmuls cannot be computed so."""
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
def quantize(encoder: WindowEncoder, make_linear: Callable[[nn.Linear], LinearFn], model: Whisper) -> float:
    """Let the encoder compute its matmuls so from now on; returns the divergence of what the model then predicts.

    encoder : of `model`

    Measured on a synthetic window. Raises QuantizationError, the encoder unchanged, when it exceeds `MAX_DIVERGENCE`.
    """
    window = _window(model.dims.n_mels).to(model.device)
    # in fp32: a decoder in bf16 makes ten times the divergence of features that differ as little
    decoder = deepcopy(model.decoder).float()
    expected = _log_probs(decoder, encoder.encode(window))
    plain = encoder.layers
    encoder.layers = [layer.mapped(make_linear) for layer in plain]
    found = _log_probs(decoder, encoder.encode(window))
    divergence = float(F.kl_div(found, expected, reduction="none", log_target=True).sum(dim=-1).mean())
    if not divergence <= MAX_DIVERGENCE:  # also refuses NaN
        encoder.layers = plain
        raise QuantizationError(
            f"with the encoder's matmuls in 8 bits the model's predictions diverge by {divergence:.2g} nats, more than "
            f"{MAX_DIVERGENCE:g}; set whisper_quantization to none for this checkpoint"
        )
    return divergence


def _log_probs(decoder: TextDecoder, audio_features: Tensor) -> Tensor:
    """The distribution of each next token of an arbitrary text: [1, _N_CHECKED_TOKENS, n_vocab]"""
    n_text_tokens = 50_257  # of any Whisper vocabulary; the markers follow
    drawn = torch.randint(n_text_tokens, (1, _N_CHECKED_TOKENS), generator=torch.Generator().manual_seed(0))
    return F.log_softmax(decoder(drawn.to(audio_features.device), audio_features.float()), dim=-1)


def _e4m3(x: Tensor) -> tuple[Tensor, Tensor]:
    """[n, m] in e4m3, each row scaled to its range, and what to multiply the rows with, fp32 [n, 1]."""
    largest = torch.linalg.vector_norm(x, torch.inf, dim=-1, keepdim=True)
    scales = (largest.float() / _LARGEST_E4M3).clamp_(min=1e-12)
    rows = torch.empty(x.shape, dtype=torch.float8_e4m3fn, device=x.device)
    # in fp32, rounded as it is written; what rounding puts beyond 448 is still nearest to 448
    torch.mul(x, scales.reciprocal(), out=rows)
    return rows, scales


def _window(n_mels: int) -> Tensor:
    """A gliding tone, on and off, in noise: fp32 [1, n_mels, 3000]"""
    seconds = torch.arange(N_SAMPLES) / SAMPLE_RATE
    noise = torch.randn(N_SAMPLES, generator=torch.Generator().manual_seed(0)) * 0.005
    tone = 0.3 * torch.sin(2 * torch.pi * (150 + 20 * seconds) * seconds) * (torch.sin(9 * seconds) > 0)
    return log_mel_spectrogram(tone + noise, n_mels)[None]
