"""The noise that tokens are drawn with."""

from __future__ import annotations

import torch

from aircheck.inference.whisper.decoding.sampling import gumbel_noise


def test_noise_is_always_finite() -> None:
    """Infinite noise would draw its token whatever the logits say, a forbidden one too: -inf + inf is NaN."""
    for positions in torch.arange(448).split(56):  # 448 · 51,866 draws are more than 2²⁴
        assert gumbel_noise(0, positions, torch.full_like(positions, 0.4, dtype=torch.float32), 51_866).isfinite().all()
