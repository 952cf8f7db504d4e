"""Whisper's audio encoder with its projections joined, and its attention in the form that the device does fastest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from whisper.model import AudioEncoder, ResidualAttentionBlock

from aircheck.inference.whisper.slot_decoder import Product, joined, norm


@dataclass(frozen=True)
class EncoderLayer:
    """One block of the encoder: its norms, and its four large products."""

    block: ResidualAttentionBlock
    queries_keys_values: Product  # [..., n_state] -> [..., 3 · n_state]
    out: Product
    mlp_in: Product
    mlp_out: Product

    @classmethod
    def of(cls, block: ResidualAttentionBlock) -> EncoderLayer:
        attn = block.attn
        return cls(block, joined([attn.query, attn.key, attn.value]), attn.out, block.mlp[0], block.mlp[2])

    def mapped(self, product: Callable[[nn.Linear], Product]) -> EncoderLayer:
        """The layer with its products computed so."""
        names = ("queries_keys_values", "out", "mlp_in", "mlp_out")
        return replace(self, **{name: product(getattr(self, name)) for name in names})

    def __call__(self, x: Tensor) -> Tensor:
        """[B, position, n_state] -> the same"""
        block = self.block
        heads = self.queries_keys_values(norm(block.attn_ln, x)).unflatten(-1, (3, block.attn.n_head, -1))
        query, key, value = heads.permute(2, 0, 3, 1, 4)  # [B, head, position, D] each
        mixed = F.scaled_dot_product_attention(query, key, value)
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        return x + self.mlp_out(F.gelu(self.mlp_in(norm(block.mlp_ln, x))))


class WindowEncoder:
    """Forward pass of a `whisper.model.AudioEncoder`, with that module's own weights."""

    def __init__(self, encoder: AudioEncoder) -> None:
        self._encoder = encoder
        self._dtype: torch.dtype = encoder.conv1.weight.dtype
        self.layers = [EncoderLayer.of(block) for block in encoder.blocks]

    def encode(self, log_mels: Tensor) -> Tensor:
        """fp32 [B, n_mels, 3000] -> audio features [B, n_audio_ctx, n_state]"""
        encoder = self._encoder
        x = F.gelu(encoder.conv1(log_mels.to(self._dtype)))
        x = F.gelu(encoder.conv2(x)).permute(0, 2, 1)
        x = (x + encoder.positional_embedding).to(self._dtype)
        for layer in self.layers:
            x = layer(x)
        return norm(encoder.ln_post, x)
