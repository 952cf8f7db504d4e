"""Keys and values of every decoding slot, allocated once.

A slot is a place in the batch that one window after another decodes in. The slots in use are always the first ones, so
that every view below is a prefix and a step reads what its windows need and nothing else.
"""

from __future__ import annotations

import torch
from torch import Tensor
from whisper.model import ModelDimensions


class SlotCache:
    """Of the text said so far, filled up to each slot's position, and of the audio, written when a window comes in.

    own : [layer, key or value, slot, head, position, D]
    cross_keys : [layer, slot, head, D, n_audio_ctx]; transposed, which a single query reads in half the time on a CPU
    cross_values : [layer, slot, head, n_audio_ctx, D]
    """

    def __init__(
        self, dims: ModelDimensions, n_slots: int, n_positions: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        n_layer, n_head, n_audio = dims.n_text_layer, dims.n_text_head, dims.n_audio_ctx
        d_head = dims.n_text_state // n_head
        # zeros, not empty: a key that is masked must still be a number
        self.own = torch.zeros(n_layer, 2, n_slots, n_head, n_positions, d_head, dtype=dtype, device=device)
        self.cross_keys = torch.zeros(n_layer, n_slots, n_head, d_head, n_audio, dtype=dtype, device=device)
        self.cross_values = torch.zeros(n_layer, n_slots, n_head, n_audio, d_head, dtype=dtype, device=device)

    def fill(self, slot: int, cross: Tensor) -> None:
        """Put a window's cross-attention keys and values, [layer, 2, head, n_audio_ctx, D], into a slot."""
        self.cross_keys[:, slot].copy_(cross[:, 0].transpose(-1, -2))
        self.cross_values[:, slot].copy_(cross[:, 1])

    def move(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` positions of a slot, and its audio, over another's."""
        self.own[:, :, target, :, :length] = self.own[:, :, source, :, :length]
        for cross in (self.cross_keys, self.cross_values):
            cross[:, target] = cross[:, source]

    @staticmethod
    def bytes_per_slot(dims: ModelDimensions, n_positions: int, dtype: torch.dtype) -> int:
        """What one more slot takes."""
        return 2 * dims.n_text_layer * dims.n_text_state * (n_positions + dims.n_audio_ctx) * dtype.itemsize
