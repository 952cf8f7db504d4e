"""Whisper's audio encoder with its projections joined, and its attention in the form that the device does fastest."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F
from whisper.model import AudioEncoder

from aircheck.inference.whisper.slot_decoder import joined, norm


class WindowEncoder:
    """Forward pass of a `whisper.model.AudioEncoder`, with that module's own weights."""

    def __init__(self, encoder: AudioEncoder) -> None:
        self._encoder = encoder
        self._dtype: torch.dtype = encoder.conv1.weight.dtype
        self._queries_keys_values = [
            joined([block.attn.query, block.attn.key, block.attn.value]) for block in encoder.blocks
        ]

    def encode(self, log_mels: Tensor) -> Tensor:
        """fp32 [B, n_mels, 3000] -> audio features [B, n_audio_ctx, n_state]"""
        if log_mels.is_cuda:
            return self._forward(log_mels)
        # one window fills the cores, and its activations stay nearer to them than a whole batch's
        return torch.cat([self._forward(log_mel) for log_mel in log_mels.split(1)])

    def _forward(self, log_mels: Tensor) -> Tensor:
        encoder = self._encoder
        x = F.gelu(encoder.conv1(log_mels.to(self._dtype)))
        x = F.gelu(encoder.conv2(x)).permute(0, 2, 1)
        x = (x + encoder.positional_embedding).to(self._dtype)
        for block, (weight, bias) in zip(encoder.blocks, self._queries_keys_values, strict=True):
            heads = F.linear(norm(block.attn_ln, x), weight, bias).unflatten(-1, (3, block.attn.n_head, -1))
            query, key, value = heads.permute(2, 0, 3, 1, 4)  # [B, head, position, D] each
            mixed = F.scaled_dot_product_attention(query, key, value)
            x = x + block.attn.out(mixed.transpose(1, 2).flatten(2))
            x = x + block.mlp(norm(block.mlp_ln, x))
        return norm(encoder.ln_post, x)
