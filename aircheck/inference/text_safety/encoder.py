"""What the head reads: the vectors of two sentence encoders, side by side."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from aircheck.inference.text_safety import e5, use
from aircheck.inference.text_safety.e5 import E5Encoder
from aircheck.inference.text_safety.use import UseEncoder

FEATURES = use.FEATURES + e5.FEATURES


class SentenceEncoder:
    """Texts to vectors; a row never depends on its batch."""

    def __init__(self, device: torch.device) -> None:
        self._encoders = (UseEncoder(device), E5Encoder(device))
        self.sha256 = ",".join(encoder.sha256 for encoder in self._encoders)

    def encode(self, texts: Sequence[str]) -> torch.Tensor:
        """float32 [len(texts), FEATURES]."""
        return torch.cat([encoder.encode(texts) for encoder in self._encoders], dim=-1)
