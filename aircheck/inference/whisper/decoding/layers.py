"""Linear layers, norms and attention: what the encoder, the step-wise decoder and the alignment share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LinearFn = Callable[[Tensor], Tensor]
"""What a linear layer computes: [..., in] -> [..., out]."""

STEP_ROWS = 8
"""Rows of every matmul of a decoder step on a CPU, however many slots are in use.

MKL chooses its kernel by the number of rows (1, 2 or 3, and 4 or more gave three different sums in fp32), so a window's
logits would depend on how many windows share its step.
"""

# (W xᵀ)ᵀ instead of x Wᵀ for 8 rows, in fp32 on one thread: with AVX-512 0.6 of the time for Whisper's vocabulary and
# 0.9 for its other layers that widen, but 1.8 for the one that narrows; with AVX2 1.1 to 1.6
_HAS_FAST_WEIGHTS_FIRST = "AVX512" in torch.backends.cpu.get_cpu_capability()


def step_linear(layer: nn.Linear) -> LinearFn:
    """The layer in its weights' own dtype, for a decoder step: [n, in] -> [n, out], n a multiple of STEP_ROWS."""
    weight, bias = layer.weight, layer.bias
    if weight.is_cuda:
        return layer
    packed = packed_linear(layer)
    is_weights_first = weight.dtype is torch.float32 and len(weight) >= weight.shape[1] and _HAS_FAST_WEIGHTS_FIRST

    def block(x: Tensor) -> Tensor:
        if not is_weights_first:
            return packed(x)
        product = weight @ x.t() if bias is None else torch.addmm(bias[:, None], weight, x.t())
        return product.t().contiguous()

    return lambda x: block(x) if len(x) == STEP_ROWS else torch.cat([block(rows) for rows in x.split(STEP_ROWS)])


def is_packed(weight: Tensor) -> bool:
    """Whether `packed_linear` copies these weights: bf16 on an x86 CPU that has instructions for it."""
    if weight.device.type != "cpu" or weight.dtype is not torch.bfloat16 or not torch.backends.mkldnn.is_available():
        return False
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def packed_linear(layer: nn.Linear) -> LinearFn:
    """The layer in its weights' own dtype, [..., in] -> [..., out], with the weights laid out once as they are read.

    In bf16 on a CPU, oneDNN otherwise copies them into its kernels' blocks in every call. Without the copies, with AMX
    on one thread, a product takes 0.6 to 0.8 of the time with an encoder's 1,500 rows, and 0.7 with a step's 8.
    """
    if not is_packed(layer.weight):
        return layer
    weight, bias = torch.ops.mkldnn._reorder_linear_weight(layer.weight), layer.bias  # what Inductor calls
    return lambda x: torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


def padded_table(table: Tensor, multiple: int) -> Tensor:
    """The token embedding, [n_vocab, n_state], with rows of zeros: matmuls on a GPU, and in bf16, want even columns."""
    return F.pad(table, (0, 0, 0, -len(table) % multiple))


def pad_rows(x: Tensor, multiple: int) -> Tensor:
    """[n, ...] -> [n rounded up to a multiple, ...], with rows of zeros."""
    missing = -len(x) % multiple
    return torch.cat([x, x.new_zeros(missing, *x.shape[1:])]) if missing else x


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


def norm(layer: nn.LayerNorm, dtype: torch.dtype) -> LinearFn:
    """`layer_norm` for inputs of one dtype, which the weights are cast to once: a cast is a kernel of a GPU's step."""
    weight, bias = layer.weight.to(dtype), layer.bias.to(dtype)
    return lambda x: F.layer_norm(x, layer.normalized_shape, weight, bias, layer.eps)


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
