"""Noise that depends on nothing but its coordinates, so that a drawn text repeats whatever shares its batch.

A stateful generator would make a window's text depend on the windows decoded before it. Here the noise of every token
is a hash of the seed, the temperature, the position in the text and the token.
"""

from __future__ import annotations

import torch
from torch import Tensor

_MASK = 0xFFFFFFFF
_GOLDEN = 0x9E3779B1  # 2³² / golden ratio: spreads neighbours far apart


def gumbel_noise(seed: int, positions: Tensor, temperatures: Tensor, n_vocab: int) -> Tensor:
    """fp32 [n, n_vocab] of standard Gumbel noise; adding it to logits makes their argmax a draw from their softmax.

    positions : int64 [n]; temperatures : fp32 [n], rounded to hundredths, so that a retry draws anew

    Source: Gumbel, Statistical Theory of Extreme Values (1954); Maddison et al., arXiv:1411.0030.
    """
    attempt = (temperatures * 100).round().to(torch.int64)
    row = _hash(_hash(_hash(torch.full_like(positions, seed & _MASK)) ^ positions) ^ attempt)
    tokens = torch.arange(n_vocab, device=positions.device) * _GOLDEN & _MASK
    # within (0, 1): 23 bits and a half are exact in fp32, with one bit more the largest would round to 1
    uniform = ((_hash(row[:, None] ^ tokens) >> 9).float() + 0.5) / 2**23
    return uniform.log_().neg_().log_().neg_()


def _hash(x: Tensor) -> Tensor:
    """32 bits to 32 bits, each output bit depending on every input bit: lowbias32.

    https://nullprogram.com/blog/2018/07/31/
    """
    x = (x ^ (x >> 16)) * 0x7FEB352D & _MASK
    x = (x ^ (x >> 15)) * 0x846CA68B & _MASK
    return x ^ (x >> 16)
