"""Keys and values of every decoding slot, allocated once.

A slot is a place in the batch that one window after another decodes in. The slots in use are always the first ones, so
that every view below is a prefix and a step reads what its windows need and nothing else.
"""

from __future__ import annotations

import torch
from torch import Tensor
from whisper.model import ModelDimensions


class SlotCache:
    """keys_values : [layer, key or value, slot, head, position, D]

    own : of the text said so far, filled up to each slot's position
    cross : of the audio, written when a window enters its slot
    """

    def __init__(
        self, dims: ModelDimensions, n_slots: int, n_positions: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        n_head = dims.n_text_head
        shape = (dims.n_text_layer, 2, n_slots, n_head)
        d_head = dims.n_text_state // n_head
        # zeros, not empty: a key that is masked must still be a number
        self.own = torch.zeros(*shape, n_positions, d_head, dtype=dtype, device=device)
        self.cross = torch.zeros(*shape, dims.n_audio_ctx, d_head, dtype=dtype, device=device)

    def fill(self, slot: int, cross: Tensor) -> None:
        """Put a window's cross-attention keys and values, [layer, 2, head, n_audio_ctx, D], into a slot."""
        self.cross[:, :, slot].copy_(cross)

    def move(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` positions of a slot, and its audio, over another's."""
        self.own[:, :, target, :, :length] = self.own[:, :, source, :, :length]
        self.cross[:, :, target] = self.cross[:, :, source]

    @staticmethod
    def bytes_per_slot(dims: ModelDimensions, n_positions: int, dtype: torch.dtype) -> int:
        """What one more slot takes."""
        return 2 * dims.n_text_layer * dims.n_text_state * (n_positions + dims.n_audio_ctx) * dtype.itemsize
