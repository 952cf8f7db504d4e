"""Whisper's token table as int8 rows: most of a small checkpoint's bytes, halved.

A row is stored as int8 with one scale: row ≈ scale · int8, scale = max|row| / 127. Symmetric, so that zero stays zero.
Only the file is small: the table is spread to fp32 when it is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

TABLE = "decoder.token_embedding.weight"  # [n_vocab, n_state]
SCALE = "decoder.token_embedding.scale"  # [n_vocab]
INT8_ROWS = "token_embedding: int8 rows"
"""What the metadata of such a file says under `format`."""

_PLAIN = {"", "pt"}  # no `format`, or the one that transformers' and most other writers put there
_LARGEST = 127


def quantised(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict with its token table as int8 rows and their fp32 scales; everything else as it was."""
    table = state[TABLE].detach().float()
    scale = table.abs().amax(dim=1) / _LARGEST
    rows = table / scale.where(scale > 0, 1.0)[:, None]  # a row of zeros has scale 0 and stays zeros
    return {**state, TABLE: rows.round().to(torch.int8), SCALE: scale}


def restored(state: Mapping[str, Tensor], file_format: str) -> dict[str, Tensor]:
    """The state dict with a floating-point token table, whichever way the file holds it.

    file_format : what the file's metadata says under `format`; empty where it says nothing

    Raises ValueError that says what does not fit.
    """
    if file_format in _PLAIN:
        if SCALE in state:
            raise ValueError(f"it holds '{SCALE}', but its metadata does not say format '{INT8_ROWS}'")
        return dict(state)
    if file_format != INT8_ROWS:
        raise ValueError(f"its format is '{file_format}'; known is '{INT8_ROWS}', or none for plain tensors")
    if absent := [name for name in (TABLE, SCALE) if name not in state]:
        raise ValueError(f"its format is '{INT8_ROWS}', but it lacks '{absent[0]}'")
    table, scale = state[TABLE], state[SCALE]
    if table.dtype != torch.int8 or table.ndim != 2:
        raise ValueError(f"its format is '{INT8_ROWS}', but '{TABLE}' is {_kind(table)}, not int8 [n_vocab, n_state]")
    if not scale.is_floating_point() or scale.shape != table.shape[:1]:
        raise ValueError(
            f"'{SCALE}' is {_kind(scale)}; it must hold one floating-point number for each of {table.shape[0]} rows"
        )
    if not bool((scale.isfinite() & (scale >= 0)).all()):
        raise ValueError(f"'{SCALE}' holds negative numbers, NaN or infinity")
    rest = {name: tensor for name, tensor in state.items() if name != SCALE}
    return {**rest, TABLE: table.float() * scale.float()[:, None]}


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
