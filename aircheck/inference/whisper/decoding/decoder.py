"""One step of Whisper's text decoder for all slots at once, each at its own position.

The weights are openai-whisper's `TextDecoder`'s own; projections that read the same input are fused into one matmul.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from whisper.model import ResidualAttentionBlock, TextDecoder

from aircheck.inference.whisper.decoding.kv_cache import KVCache
from aircheck.inference.whisper.decoding.layers import (
    STEP_ROWS,
    LinearFn,
    fused,
    is_packed,
    norm,
    of_weight,
    packed_linear,
    pad_rows,
    padded_table,
    single_query_attention,
    step_linear,
)

LENGTH_MULTIPLE = 64
"""Of positions that self-attention reads: another number, the masked ones included, is another order of the sum."""


class StepDecoder:
    """Step-wise forward pass of a `whisper.model.TextDecoder` over a `KVCache`."""

    def __init__(self, decoder: TextDecoder, make_linear: Callable[[nn.Linear], LinearFn] | None = None) -> None:
        """make_linear: how linear layers are computed; None is in the weights' own dtype."""
        self._decoder = decoder
        self._layers = [_Layer(block, make_linear or step_linear) for block in decoder.blocks]
        table = decoder.token_embedding.weight
        if table.is_cuda:
            padded = padded_table(table, 8)
            decoder.token_embedding.weight = nn.Parameter(padded[: len(table)], requires_grad=False)  # held once
            table = padded
        elif is_packed(table):
            table = padded_table(table, 32)
        self._logits = (make_linear or step_linear)(of_weight(table))
        self._norm = norm(decoder.ln, table.dtype)
        crosses = [block.cross_attn for block in decoder.blocks]
        cross_kv = fused([layer for cross in crosses for layer in (cross.key, cross.value)])
        self._cross_kv = (make_linear or packed_linear)(cross_kv)
        self._row_multiple = STEP_ROWS if decoder.token_embedding.weight.device.type == "cpu" else 1
        self._n_head: int = crosses[0].n_head

    def cross_kv(self, audio_features: Tensor) -> Tensor:
        """[n_audio_ctx, n_state] -> every layer's cross-attention keys and values, [layer, 2, head, n_audio_ctx, D]"""
        flat = self._cross_kv(audio_features)
        return flat.unflatten(-1, (len(self._layers), 2, self._n_head, -1)).permute(1, 2, 3, 0, 4)

    def step(self, tokens: Tensor, positions: Tensor, cache: KVCache, length: int) -> Tensor:
        """tokens, positions: int64 [n], of the first n slots; length: more than any of the positions.

        A row's result depends neither on n nor on a length that is a multiple of LENGTH_MULTIPLE, on a CPU.

        Returns fp32 logits [n, n_vocab], and writes the tokens' keys and values into the cache.
        """
        decoder, n = self._decoder, len(tokens)
        table: Tensor = decoder.token_embedding.weight
        x = (F.embedding(tokens, table) + decoder.positional_embedding[positions]).to(table.dtype)
        x = pad_rows(x, self._row_multiple)  # linear layers see all rows, attention the first n
        rows = torch.arange(n, device=tokens.device)
        is_masked = torch.arange(length, device=tokens.device) > positions[:, None]
        mask = torch.zeros_like(is_masked, dtype=x.dtype).masked_fill_(is_masked, float("-inf"))[:, None, None]
        for index, layer in enumerate(self._layers):
            self_kv, cross_kv = cache.self_kv[index, :, :n], cache.cross_kv[index, :, :n]
            # [n, head, D] each
            query, key, value = layer.self_qkv(x)[:n].unflatten(-1, (3, self._n_head, -1)).unbind(1)
            self_kv[0, rows, :, positions] = key
            self_kv[1, rows, :, positions] = value
            mixed = single_query_attention(query, self_kv[0, :, :, :length], self_kv[1, :, :, :length], mask)
            x = x + layer.self_out(pad_rows(mixed, self._row_multiple))
            query = layer.cross_query(x)[:n].unflatten(-1, (self._n_head, -1))
            mixed = single_query_attention(query, cross_kv[0], cross_kv[1], None)
            x = x + layer.cross_out(pad_rows(mixed, self._row_multiple))
            x = x + layer.mlp(x)
        return self._logits(self._norm(x))[:n, : len(table)].contiguous().float()


class _Layer:
    """The linear layers of one decoder block."""

    def __init__(self, block: ResidualAttentionBlock, make_linear: Callable[[nn.Linear], LinearFn]) -> None:
        dtype = block.mlp[0].weight.dtype
        self._attn_norm, self._mlp_norm = norm(block.attn_ln, dtype), norm(block.mlp_ln, dtype)
        self._cross_norm = norm(block.cross_attn_ln, dtype)
        self._self_qkv = make_linear(fused([block.attn.query, block.attn.key, block.attn.value]))
        self.self_out = make_linear(block.attn.out)
        self._cross_query = make_linear(block.cross_attn.query)
        self.cross_out = make_linear(block.cross_attn.out)
        self._mlp_in, self._mlp_out = make_linear(block.mlp[0]), make_linear(block.mlp[2])

    def self_qkv(self, x: Tensor) -> Tensor:
        return self._self_qkv(self._attn_norm(x))

    def cross_query(self, x: Tensor) -> Tensor:
        return self._cross_query(self._cross_norm(x))

    def mlp(self, x: Tensor) -> Tensor:
        return self._mlp_out(F.gelu(self._mlp_in(self._mlp_norm(x))))
