"""The encoder's large products in 8-bit floating point, for GPUs that multiply it (Hopper and later).

Weights and activations are scaled to the range of e4m3, tensor by tensor, the activations anew each time; sums are
taken in higher precision (Micikevicius et al., FP8 Formats for Deep Learning, arXiv:2209.05433). Whether a model bears
that is measured when it is loaded, not assumed.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from whisper.audio import N_SAMPLES, SAMPLE_RATE, log_mel_spectrogram

from aircheck.inference.whisper.encoder import WindowEncoder

FP8 = torch.float8_e4m3fn
LARGEST_ERROR = 0.1
"""Of the audio features, relative to the same encoder's without FP8; some 0.05 is the format's own noise."""

_LARGEST_E4M3 = 448.0


class Fp8AccuracyError(ValueError):
    """The encoder's features are not what they are without FP8."""


class Fp8Linear(nn.Module):
    """A linear layer whose product is computed in FP8: [..., in] -> [..., out] in the dtype of its input."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight, scale = quantised(linear.weight)
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.scale = nn.Parameter(scale, requires_grad=False)
        self.bias = linear.bias

    def forward(self, x: Tensor) -> Tensor:
        rows, scale = quantised(x.flatten(0, -2))
        y = torch._scaled_mm(rows, self.weight.t(), scale_a=scale, scale_b=self.scale, out_dtype=x.dtype)
        return (y + self.bias.to(x.dtype)).unflatten(0, x.shape[:-1])


def quantised(x: Tensor) -> tuple[Tensor, Tensor]:
    """e4m3 values and the fp32 scale that they are to be multiplied with."""
    scale = (x.abs().amax().float() / _LARGEST_E4M3).clamp(min=1e-12)
    return (x.float() / scale).clamp(-_LARGEST_E4M3, _LARGEST_E4M3).to(FP8).contiguous(), scale


@torch.inference_mode()
def use(encoder: WindowEncoder, n_mels: int, device: torch.device) -> float:
    """Let the encoder compute in FP8 from now on; returns the relative error of its features.

    Measured on synthetic windows (a gliding tone in noise, noise, silence). Raises Fp8AccuracyError, the encoder
    unchanged, when it exceeds `LARGEST_ERROR`.
    """
    windows = _windows(n_mels).to(device)
    expected = encoder.encode(windows).float()
    plain = encoder.layers
    encoder.layers = [layer.mapped(Fp8Linear) for layer in plain]
    error = float((encoder.encode(windows).float() - expected).norm() / expected.norm())
    if not error <= LARGEST_ERROR:  # also refuses NaN
        encoder.layers = plain
        raise Fp8AccuracyError(
            f"with FP8 the encoder's features differ by {error:.1%} from those without, more than {LARGEST_ERROR:.0%}; "
            f"leave whisper_fp8_encoder off for this checkpoint"
        )
    return error


def _windows(n_mels: int) -> Tensor:
    """fp32 [3, n_mels, 3000]"""
    seconds = torch.arange(N_SAMPLES) / SAMPLE_RATE
    noise = torch.randn(N_SAMPLES, generator=torch.Generator().manual_seed(0)) * 0.05
    tone = 0.3 * torch.sin(2 * torch.pi * (150 + 20 * seconds) * seconds) * (torch.sin(9 * seconds) > 0)
    return torch.stack([log_mel_spectrogram(x, n_mels) for x in (tone + noise / 10, noise, torch.zeros(N_SAMPLES))])
