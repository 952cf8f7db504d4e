"""Self-attention and cross-attention KV cache of every decoding slot, allocated once.

A slot is a row of the batch that one window after another decodes in. The slots in use are always the first ones, so
that every view below is a prefix and a step reads what its windows need and nothing else.
"""

from __future__ import annotations

import torch
from torch import Tensor
from whisper.model import ModelDimensions


class KVCache:
    """Keys and values of the tokens so far, filled up to each slot's position, and of the audio.

    self_kv : [layer, key or value, slot, head, position, D]
    cross_kv : [layer, key or value, slot, head, n_audio_ctx, D]; on a CPU position by position beside each other in
            memory, which a single query reads in 0.55 (keys) and 0.7 (values) of the time; a GPU wants it the other way
    """

    def __init__(
        self, dims: ModelDimensions, n_slots: int, n_positions: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        n_layer, n_head, n_audio = dims.n_text_layer, dims.n_text_head, dims.n_audio_ctx
        d_head = dims.n_text_state // n_head
        # zeros, not empty: a key that is masked must still be a number
        self.self_kv = torch.zeros(n_layer, 2, n_slots, n_head, n_positions, d_head, dtype=dtype, device=device)
        shape = (d_head, n_audio) if device.type == "cpu" else (n_audio, d_head)
        cross_kv = torch.zeros(n_layer, 2, n_slots, n_head, *shape, dtype=dtype, device=device)
        self.cross_kv = cross_kv.transpose(-1, -2) if device.type == "cpu" else cross_kv

    def fill(self, slot: int, cross_kv: Tensor) -> None:
        """Put a window's cross-attention keys and values, [layer, 2, head, n_audio_ctx, D], into a slot."""
        self.cross_kv[:, :, slot] = cross_kv

    def clear(self, slot: int) -> None:
        """Forget the tokens of the slot's last window: NaN at a masked position still spoils the sum, 0 · NaN."""
        self.self_kv[:, :, slot] = 0

    def move(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` positions of a slot, and its audio, over another's; nothing else is left there."""
        self.self_kv[:, :, target, :, :length] = self.self_kv[:, :, source, :, :length]
        self.self_kv[:, :, target, :, length:] = 0
        self.cross_kv[:, :, target] = self.cross_kv[:, :, source]

    @staticmethod
    def bytes_per_slot(dims: ModelDimensions, n_positions: int, dtype: torch.dtype) -> int:
        """What one more slot takes."""
        return 2 * dims.n_text_layer * dims.n_text_state * (n_positions + dims.n_audio_ctx) * dtype.itemsize
