"""One step of Whisper's text decoder for all slots at once, each at its own position.

The weights are openai-whisper's `TextDecoder`'s own; projections that read the same input are joined into one product.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from whisper.model import ResidualAttentionBlock, TextDecoder

from aircheck.inference.whisper.slot_cache import SlotCache


class SlotDecoder:
    """Step-wise forward pass of a `whisper.model.TextDecoder` over a `SlotCache`."""

    def __init__(self, decoder: TextDecoder) -> None:
        self._decoder = decoder
        self._layers = [_Layer(block) for block in decoder.blocks]
        crosses = [block.cross_attn for block in decoder.blocks]
        self._cross_keys_values = joined([linear for cross in crosses for linear in (cross.key, cross.value)])
        self._n_head: int = crosses[0].n_head

    def cross_keys_values(self, audio_features: Tensor) -> Tensor:
        """[n_audio_ctx, n_state] -> what every layer looks up in the audio, [layer, 2, head, n_audio_ctx, D]"""
        flat = self._cross_keys_values(audio_features)
        return flat.unflatten(-1, (len(self._layers), 2, self._n_head, -1)).permute(1, 2, 3, 0, 4)

    def step(self, tokens: Tensor, positions: Tensor, cache: SlotCache, length: int) -> Tensor:
        """tokens, positions: int64 [n], of the first n slots; length: more than any of the positions.

        Returns fp32 logits [n, n_vocab], and writes the tokens' keys and values into the cache.
        """
        decoder, n = self._decoder, len(tokens)
        table: Tensor = decoder.token_embedding.weight
        x = (F.embedding(tokens, table) + decoder.positional_embedding[positions]).to(table.dtype)
        rows = torch.arange(n, device=tokens.device)
        unsaid = torch.arange(length, device=tokens.device) > positions[:, None]
        mask = torch.zeros_like(unsaid, dtype=x.dtype).masked_fill_(unsaid, float("-inf"))[:, None, None]
        for index, layer in enumerate(self._layers):
            own, keys, values = cache.own[index, :, :n], cache.cross_keys[index, :n], cache.cross_values[index, :n]
            query, key, value = layer.own(x).unflatten(-1, (3, self._n_head, -1)).unbind(1)  # [n, head, D] each
            own[0, rows, :, positions] = key
            own[1, rows, :, positions] = value
            x = x + layer.own_out(attend(query, own[0, :, :, :length].transpose(-1, -2), own[1, :, :, :length], mask))
            query = layer.cross(x).unflatten(-1, (self._n_head, -1))
            x = x + layer.cross_out(attend(query, keys, values, None))
            x = x + layer.mlp(x)
        return few_rows(norm(decoder.ln, x), table).contiguous().float()


class _Layer:
    """The products of one decoder block."""

    def __init__(self, block: ResidualAttentionBlock) -> None:
        self._block = block
        self._own = joined([block.attn.query, block.attn.key, block.attn.value])

    def own(self, x: Tensor) -> Tensor:
        return apply(self._own, norm(self._block.attn_ln, x))

    def own_out(self, x: Tensor) -> Tensor:
        return apply(self._block.attn.out, x)

    def cross(self, x: Tensor) -> Tensor:
        return apply(self._block.cross_attn.query, norm(self._block.cross_attn_ln, x))

    def cross_out(self, x: Tensor) -> Tensor:
        return apply(self._block.cross_attn.out, x)

    def mlp(self, x: Tensor) -> Tensor:
        first, _, last = self._block.mlp
        return apply(last, F.gelu(apply(first, norm(self._block.mlp_ln, x))))


def attend(query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
    """softmax(QKᵀ/√D + mask) V of one query a row.

    query: [n, head, D]; keys: [n, head, D, T]; values: [n, head, T, D]; mask: [n, 1, 1, T] -> [n, head · D]
    """
    query = query[:, :, None]
    if query.is_cuda:
        return F.scaled_dot_product_attention(query, keys.transpose(-1, -2), values, attn_mask=mask).flatten(1)
    # with one query a row, torch's fused CPU kernel is several times slower than two plain products
    weights = (query * query.shape[-1] ** -0.5) @ keys
    if mask is not None:
        weights += mask
    return (weights.softmax(dim=-1, dtype=torch.float32).to(values.dtype) @ values).flatten(1)


def apply(linear: nn.Linear, x: Tensor) -> Tensor:
    """A linear layer on few rows, [n, in] -> [n, out]."""
    return few_rows(x, linear.weight, linear.bias)


def few_rows(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x Wᵀ + b for few rows x. MKL reads the weights faster on a CPU when they come first: (W xᵀ)ᵀ, a transposed view.

    With 16 rows that took 0.5 to 0.9 of the time of `F.linear` in fp32 (two AVX2 cores).
    """
    if x.is_cuda or x.dtype is not torch.float32:
        return F.linear(x, weight, bias)
    return (weight @ x.t() if bias is None else torch.addmm(bias[:, None], weight, x.t())).t()


def joined(linears: list[nn.Linear]) -> nn.Linear:
    """One layer for several that read the same input, [sum of outs, in]; each then uses its part of its weights."""
    weight = torch.cat([linear.weight for linear in linears])
    bias = torch.cat([_bias(linear) for linear in linears])
    for linear, part in zip(linears, weight.split([linear.out_features for linear in linears]), strict=True):
        linear.weight = nn.Parameter(part, requires_grad=False)  # a view: the weights are held once
    together = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    together.weight, together.bias = (nn.Parameter(tensor, requires_grad=False) for tensor in (weight, bias))
    return together


def norm(layer: nn.LayerNorm, x: Tensor) -> Tensor:
    """The layer norm in the dtype of its input; sums are taken in fp32 all the same."""
    return F.layer_norm(x, layer.normalized_shape, layer.weight.to(x.dtype), layer.bias.to(x.dtype), layer.eps)


def _bias(linear: nn.Linear) -> Tensor:
    if linear.bias is None:  # a key's: it would change nothing
        return linear.weight.new_zeros(linear.out_features)
    return linear.bias
