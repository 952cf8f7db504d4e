"""Whisper's audio encoder with its projections fused, and its attention in the form that the device does fastest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from whisper.model import AudioEncoder, ResidualAttentionBlock

from aircheck.inference.whisper.decoding.layers import LinearFn, attention, fused, norm, packed_linear, split_heads


@dataclass(frozen=True)
class EncoderLayer:
    """One block of the encoder: its norms, and its four linear layers."""

    n_head: int
    attn_norm: LinearFn
    mlp_norm: LinearFn
    qkv: LinearFn  # [..., n_state] -> [..., 3 · n_state]
    out: LinearFn
    mlp_in: LinearFn
    mlp_out: LinearFn

    @classmethod
    def of(cls, block: ResidualAttentionBlock) -> EncoderLayer:
        attn, dtype = block.attn, block.mlp[0].weight.dtype
        norms = norm(block.attn_ln, dtype), norm(block.mlp_ln, dtype)
        qkv = fused([attn.query, attn.key, attn.value])
        return cls(attn.n_head, *norms, qkv, attn.out, block.mlp[0], block.mlp[2])

    def mapped(self, make_linear: Callable[[nn.Linear], LinearFn]) -> EncoderLayer:
        """The layer with its linear layers computed so."""
        names = ("qkv", "out", "mlp_in", "mlp_out")
        layers: dict[str, Any] = {name: make_linear(getattr(self, name)) for name in names}
        return replace(self, **layers)

    def __call__(self, x: Tensor) -> Tensor:
        """[B, position, n_state] -> the same"""
        qkv = self.qkv(self.attn_norm(x)).chunk(3, dim=-1)
        query, key, value = (split_heads(part, self.n_head) for part in qkv)
        x = x + self.out(attention(query, key, value))
        return x + self.mlp_out(F.gelu(self.mlp_in(self.mlp_norm(x))))


class WindowEncoder:
    """Forward pass of a `whisper.model.AudioEncoder`, with that module's own weights."""

    def __init__(self, encoder: AudioEncoder) -> None:
        self._encoder = encoder
        self._dtype: torch.dtype = encoder.conv1.weight.dtype
        self._norm = norm(encoder.ln_post, self._dtype)
        self.layers = [EncoderLayer.of(block) for block in encoder.blocks]

    def pack(self) -> None:
        """Lays the weights out as a CPU multiplies them fastest, where that helps."""
        self.layers = [layer.mapped(packed_linear) for layer in self.layers]

    def encode(self, log_mels: Tensor) -> Tensor:
        """fp32 [B, n_mels, 3000] -> audio features [B, n_audio_ctx, n_state]"""
        encoder = self._encoder
        x = F.gelu(encoder.conv1(log_mels.to(self._dtype)))
        x = F.gelu(encoder.conv2(x)).permute(0, 2, 1).contiguous()  # else every sum below would keep this order
        x = (x + encoder.positional_embedding).to(self._dtype)
        for layer in self.layers:
            x = layer(x)
        return self._norm(x)
