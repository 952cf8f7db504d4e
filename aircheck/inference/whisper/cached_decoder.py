"""Whisper's text decoder, one step at a time, over a preallocated key/value cache.

The modules and weights are openai-whisper's own `TextDecoder`; only the bookkeeping differs. openai-whisper grows its
cache by concatenation in forward hooks and re-reads finished rows until the whole batch is done. Here the cache is
allocated once, and the rows that still decode always lie in its first slots, so a step costs what its live rows cost.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional as F
from whisper.model import MultiHeadAttention, ResidualAttentionBlock, TextDecoder


class LayerCache:
    """Keys and values of one decoder layer, for every slot of a batch.

    self_key, self_value : [B, H, n_text_ctx, D], filled up to the positions decoded so far
    cross_key, cross_value : [B, H, n_audio_ctx, D], computed once from the encoded audio
    """

    def __init__(self, block: ResidualAttentionBlock, audio_features: Tensor, n_text_ctx: int) -> None:
        cross = block.cross_attn
        self.cross_key = _split_heads(cross.key(audio_features), cross.n_head).contiguous()
        self.cross_value = _split_heads(cross.value(audio_features), cross.n_head).contiguous()
        n_batch, n_head, _, d_head = self.cross_key.shape
        self.self_key = audio_features.new_empty(n_batch, n_head, n_text_ctx, d_head)
        self.self_value = audio_features.new_empty(n_batch, n_head, n_text_ctx, d_head)

    def update(self, key: Tensor, value: Tensor, offset: int) -> tuple[Tensor, Tensor]:
        """Write key, value: [B, H, S, D] at positions offset … offset + S; return all keys and values up to there."""
        n_batch, end = key.shape[0], offset + key.shape[2]
        self.self_key[:n_batch, :, offset:end] = key
        self.self_value[:n_batch, :, offset:end] = value
        return self.self_key[:n_batch, :, :end], self.self_value[:n_batch, :, :end]

    def move(self, sources: Tensor, targets: Tensor, length: int) -> None:
        """Copy the slots `sources` over the slots `targets`, as far as they are filled."""
        self.cross_key[targets] = self.cross_key[sources]
        self.cross_value[targets] = self.cross_value[sources]
        self.self_key[targets, :, :length] = self.self_key[sources, :, :length]
        self.self_value[targets, :, :length] = self.self_value[sources, :, :length]


class DecoderCache:
    """The caches of all layers, and how many positions they hold (the same for every slot)."""

    def __init__(self, blocks: Iterable[ResidualAttentionBlock], audio_features: Tensor, n_text_ctx: int) -> None:
        self.layers = [LayerCache(block, audio_features, n_text_ctx) for block in blocks]
        self.length = 0

    def keep(self, slots: Tensor) -> None:
        """Let slot i take the contents of slots[i]. Only slots that change are copied."""
        targets = (slots != torch.arange(len(slots), device=slots.device)).nonzero().flatten()
        if len(targets):
            for layer in self.layers:
                layer.move(slots[targets], targets, self.length)


class CachedDecoder:
    """Step-wise forward pass of a `whisper.model.TextDecoder`."""

    def __init__(self, decoder: TextDecoder) -> None:
        self._decoder = decoder
        self._n_text_ctx: int = decoder.positional_embedding.shape[0]

    def start(self, audio_features: Tensor) -> DecoderCache:
        """An empty text cache for audio_features: [B, n_audio_ctx, n_state], with its cross-attention filled in."""
        return DecoderCache(self._decoder.blocks, audio_features, self._n_text_ctx)

    def step(self, tokens: Tensor, cache: DecoderCache) -> Tensor:
        """Decode tokens: [B, S] at the cache's next positions, in its first B slots; return hidden states
        [B, S, n_state] and lengthen the cache by S.
        """
        decoder, offset, n_new = self._decoder, cache.length, tokens.shape[1]
        positions = decoder.positional_embedding[offset : offset + n_new]
        x = decoder.token_embedding(tokens) + positions
        x = x.to(cache.layers[0].cross_key.dtype)
        # several new tokens see the cache and those before them; a single one sees everything
        mask = decoder.mask[offset : offset + n_new, : offset + n_new].to(x.dtype) if n_new > 1 else None
        for block, layer in zip(decoder.blocks, cache.layers, strict=True):
            x = x + _self_attention(block.attn, block.attn_ln(x), layer, offset, mask)
            x = x + _cross_attention(block.cross_attn, block.cross_attn_ln(x), layer)
            x = x + block.mlp(block.mlp_ln(x))
        cache.length += n_new
        return decoder.ln(x)

    def logits(self, hidden: Tensor) -> Tensor:
        """hidden: [B, n_state] -> fp32 logits [B, n_vocab]; the output projection is the token embedding."""
        return F.linear(hidden, self._decoder.token_embedding.weight).float()


def _self_attention(attn: MultiHeadAttention, x: Tensor, layer: LayerCache, offset: int, mask: Tensor | None) -> Tensor:
    key, value = (_split_heads(project(x), attn.n_head) for project in (attn.key, attn.value))
    keys, values = layer.update(key, value, offset)
    return _attend(attn, x, keys, values, mask)


def _cross_attention(attn: MultiHeadAttention, x: Tensor, layer: LayerCache) -> Tensor:
    n_batch = x.shape[0]
    return _attend(attn, x, layer.cross_key[:n_batch], layer.cross_value[:n_batch], None)


def _attend(attn: MultiHeadAttention, x: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
    query = _split_heads(attn.query(x), attn.n_head)
    mixed = attention(query, keys, values, mask)
    return attn.out(mixed.transpose(1, 2).flatten(start_dim=2))


def attention(query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
    """softmax(QKᵀ/√D) V for query: [B, H, S, D] and keys, values: [B, H, T, D] -> [B, H, S, D]."""
    if query.is_cuda:
        return F.scaled_dot_product_attention(query, keys, values, attn_mask=mask)
    # with one query a row, torch's fused CPU kernel is several times slower in bf16 than two plain products
    weights = (query * query.shape[-1] ** -0.5) @ keys.transpose(-1, -2)
    if mask is not None:
        weights = weights + mask
    return weights.softmax(dim=-1, dtype=torch.float32).to(values.dtype) @ values


def _split_heads(x: Tensor, n_head: int) -> Tensor:
    """[B, S, n_state] -> [B, H, S, D]"""
    return x.unflatten(-1, (n_head, -1)).transpose(1, 2)
