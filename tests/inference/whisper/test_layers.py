"""Packed weights give the products of plain ones, at every number of rows that a step or an encoder has."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from aircheck.inference.whisper.decoding.layers import STEP_ROWS, is_packed, packed_linear, step_linear


def layer(n_in, n_out, dtype, bias=True):
    torch.manual_seed(0)
    return nn.Linear(n_in, n_out, bias=bias, dtype=dtype).requires_grad_(False)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("n_in", "n_out"), [(64, 192), (256, 64), (64, 51_872)])
def test_packed_weights_multiply_as_plain_ones(n_in, n_out, bias):
    plain = layer(n_in, n_out, torch.bfloat16, bias)
    if not is_packed(plain.weight):
        pytest.skip("this CPU multiplies bf16 without oneDNN's blocks")
    for shape in ((STEP_ROWS,), (1, 100)):
        x = torch.randn(*shape, n_in).bfloat16()
        exact = F.linear(x.double(), plain.weight.double(), None if plain.bias is None else plain.bias.double())
        torch.testing.assert_close(packed_linear(plain)(x).double(), exact, rtol=2**-8, atol=0.01)


def test_only_bf16_on_a_cpu_is_packed():
    plain = layer(8, 8, torch.float32)
    assert packed_linear(plain) is plain
    assert not is_packed(plain.weight.to(torch.float16))
    assert not is_packed(torch.empty(8, 8, dtype=torch.bfloat16, device="meta"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_row_of_a_step_does_not_depend_on_how_many_there_are(dtype):
    linear = step_linear(layer(512, 2048, dtype))
    x = torch.randn(4 * STEP_ROWS, 512).to(dtype)
    together = linear(x)
    for first in range(0, len(x), STEP_ROWS):
        assert torch.equal(linear(x[first : first + STEP_ROWS]), together[first : first + STEP_ROWS])
