"""Linear layers, norms and attention: what the encoder, the step-wise decoder and the alignment share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LinearFn = Callable[[Tensor], Tensor]
"""What a linear layer computes: [..., in] -> [..., out]."""

_FEW_ROWS = 4


def linear(layer: nn.Linear) -> LinearFn:
    """The layer in its weights' own dtype, for the few rows of a decoder step."""
    return partial(_linear, layer)


def _linear(layer: nn.Linear, x: Tensor) -> Tensor:
    """[n, in] -> [n, out]

    MKL reads the weights of a few rows faster on a CPU when they come first: (W xᵀ)ᵀ, a transposed view. On one thread
    of an AVX2 core, in fp32, that took 0.55 to 1.1 of the time of `F.linear` with 2 to 4 rows, but 1.1 to 1.6 with 6 to
    12.
    """
    weight, bias = layer.weight, layer.bias
    if x.is_cuda or x.dtype is not torch.float32 or len(x) > _FEW_ROWS:
        return F.linear(x, weight, bias)
    return (weight @ x.t() if bias is None else torch.addmm(bias[:, None], weight, x.t())).t()


def fused(layers: Sequence[nn.Linear]) -> nn.Linear:
    """One layer for several that read the same input, [sum of outs, in]; each then uses its part of its weights."""
    weight = torch.cat([layer.weight for layer in layers])
    bias = torch.cat([_bias(layer) for layer in layers])
    for layer, part in zip(layers, weight.split([layer.out_features for layer in layers]), strict=True):
        layer.weight = nn.Parameter(part, requires_grad=False)  # a view: the weights are held once
    return of_weight(weight, bias)


def of_weight(weight: Tensor, bias: Tensor | None = None) -> nn.Linear:
    """The layer of these weights, [out, in], which are not copied."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    layer.weight = nn.Parameter(weight.detach(), requires_grad=False)
    if bias is not None:
        layer.bias = nn.Parameter(bias, requires_grad=False)
    return layer


def layer_norm(layer: nn.LayerNorm, x: Tensor) -> Tensor:
    """The layer norm in the dtype of its input; it accumulates in fp32 all the same."""
    return F.layer_norm(x, layer.normalized_shape, layer.weight.to(x.dtype), layer.bias.to(x.dtype), layer.eps)


def split_heads(x: Tensor, n_head: int) -> Tensor:
    """[n, T, n_state] -> [n, head, T, D]"""
    return x.unflatten(-1, (n_head, -1)).transpose(1, 2)


def attention(query: Tensor, key: Tensor, value: Tensor, is_causal: bool = False) -> Tensor:
    """softmax(QKᵀ/√D) V. query, key, value: [n, head, T, D] -> [n, T, head · D]"""
    mixed = F.scaled_dot_product_attention(query, key, value, is_causal=is_causal)
    return mixed.transpose(1, 2).flatten(2)


def attention_scores(query: Tensor, key: Tensor) -> Tensor:
    """QKᵀ/√D. query: [n, head, T, D]; key: [n, head, S, D] -> [n, head, T, S]"""
    return query * query.shape[-1] ** -0.5 @ key.transpose(-1, -2)


def single_query_attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """softmax(QKᵀ/√D + mask) V of one query a row.

    query: [n, head, D]; key, value: [n, head, T, D]; mask: [n, 1, 1, T] -> [n, head · D]
    """
    query = query[:, :, None]
    if query.is_cuda:
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask).flatten(1)
    # with one query a row, torch's fused CPU kernel is several times slower than two plain matmuls
    scores = attention_scores(query, key)
    if mask is not None:
        scores += mask
    return (scores.softmax(dim=-1, dtype=torch.float32).to(value.dtype) @ value).flatten(1)


def _bias(layer: nn.Linear) -> Tensor:
    if layer.bias is None:  # a key's: it would change nothing
        return layer.weight.new_zeros(layer.out_features)
    return layer.bias
