"""One step of Whisper's text decoder for all slots at once, each at its own position.

The weights are openai-whisper's `TextDecoder`'s own; projections that read the same input are joined into one product.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from whisper.model import ResidualAttentionBlock, TextDecoder

from aircheck.inference.whisper.slot_cache import SlotCache

Product = Callable[[Tensor], Tensor]
"""What a linear layer does: [..., in] -> [..., out]."""

_FEW_ROWS = 4


class SlotDecoder:
    """Step-wise forward pass of a `whisper.model.TextDecoder` over a `SlotCache`."""

    def __init__(self, decoder: TextDecoder, product: Callable[[nn.Linear], Product] | None = None) -> None:
        """product: how linear layers are computed; None is in the weights' own dtype."""
        product = product or (lambda linear: partial(apply, linear))
        self._decoder = decoder
        self._layers = [_Layer(block, product) for block in decoder.blocks]
        self._logits = product(_linear(decoder.token_embedding.weight))
        crosses = [block.cross_attn for block in decoder.blocks]
        self._cross_keys_values = product(joined([linear for cross in crosses for linear in (cross.key, cross.value)]))
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
            own, cross = cache.own[index, :, :n], cache.cross[index, :, :n]
            query, key, value = layer.own(x).unflatten(-1, (3, self._n_head, -1)).unbind(1)  # [n, head, D] each
            own[0, rows, :, positions] = key
            own[1, rows, :, positions] = value
            x = x + layer.own_out(attend(query, own[0, :, :, :length], own[1, :, :, :length], mask))
            query = layer.cross(x).unflatten(-1, (self._n_head, -1))
            x = x + layer.cross_out(attend(query, cross[0], cross[1], None))
            x = x + layer.mlp(x)
        return self._logits(norm(decoder.ln, x)).contiguous().float()


class _Layer:
    """The products of one decoder block."""

    def __init__(self, block: ResidualAttentionBlock, product: Callable[[nn.Linear], Product]) -> None:
        self._block = block
        self._own = product(joined([block.attn.query, block.attn.key, block.attn.value]))
        self.own_out = product(block.attn.out)
        self._cross = product(block.cross_attn.query)
        self.cross_out = product(block.cross_attn.out)
        self._mlp_in, self._mlp_out = product(block.mlp[0]), product(block.mlp[2])

    def own(self, x: Tensor) -> Tensor:
        return self._own(norm(self._block.attn_ln, x))

    def cross(self, x: Tensor) -> Tensor:
        return self._cross(norm(self._block.cross_attn_ln, x))

    def mlp(self, x: Tensor) -> Tensor:
        return self._mlp_out(F.gelu(self._mlp_in(norm(self._block.mlp_ln, x))))


def attend(query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
    """softmax(QKᵀ/√D + mask) V of one query a row.

    query: [n, head, D]; keys, values: [n, head, T, D]; mask: [n, 1, 1, T] -> [n, head · D]
    """
    query = query[:, :, None]
    if query.is_cuda:
        return F.scaled_dot_product_attention(query, keys, values, attn_mask=mask).flatten(1)
    # with one query a row, torch's fused CPU kernel is several times slower than two plain products
    weights = (query * query.shape[-1] ** -0.5) @ keys.transpose(-1, -2)
    if mask is not None:
        weights += mask
    return (weights.softmax(dim=-1, dtype=torch.float32).to(values.dtype) @ values).flatten(1)


def apply(linear: nn.Linear, x: Tensor) -> Tensor:
    """A linear layer, [n, in] -> [n, out].

    MKL reads the weights of a few rows faster on a CPU when they come first: (W xᵀ)ᵀ, a transposed view. On one thread
    of an AVX2 core, in fp32, that took 0.55 to 1.1 of the time of `F.linear` with 2 to 4 rows, but 1.1 to 1.6 with 6 to
    12.
    """
    weight, bias = linear.weight, linear.bias
    if x.is_cuda or x.dtype is not torch.float32 or len(x) > _FEW_ROWS:
        return F.linear(x, weight, bias)
    return (weight @ x.t() if bias is None else torch.addmm(bias[:, None], weight, x.t())).t()


def joined(linears: list[nn.Linear]) -> nn.Linear:
    """One layer for several that read the same input, [sum of outs, in]; each then uses its part of its weights."""
    weight = torch.cat([linear.weight for linear in linears])
    bias = torch.cat([_bias(linear) for linear in linears])
    for linear, part in zip(linears, weight.split([linear.out_features for linear in linears]), strict=True):
        linear.weight = nn.Parameter(part, requires_grad=False)  # a view: the weights are held once
    return _linear(weight, bias)


def norm(layer: nn.LayerNorm, x: Tensor) -> Tensor:
    """The layer norm in the dtype of its input; sums are taken in fp32 all the same."""
    return F.layer_norm(x, layer.normalized_shape, layer.weight.to(x.dtype), layer.bias.to(x.dtype), layer.eps)


def _linear(weight: Tensor, bias: Tensor | None = None) -> nn.Linear:
    """The layer of these weights, [out, in], which are not copied."""
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    linear.weight = nn.Parameter(weight.detach(), requires_grad=False)
    if bias is not None:
        linear.bias = nn.Parameter(bias, requires_grad=False)
    return linear


def _bias(linear: nn.Linear) -> Tensor:
    if linear.bias is None:  # a key's: it would change nothing
        return linear.weight.new_zeros(linear.out_features)
    return linear.bias
