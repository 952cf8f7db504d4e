"""What the sentence encoders share: passes whose rows do not depend on each other."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import torch
from torch.nn import functional as F

ROWS = 32
"""Rows of every matmul.

A matmul of more rows may sum in another order, which moves the last bits. Always the same number of rows makes a text's
score independent of what shares its batch, and of how many texts do.
"""

MAX_TOKENS = 4096
"""Tokens in one pass, unless a single text has more; bounds memory."""


def by_rows(function: Callable[[torch.Tensor], torch.Tensor], rows: torch.Tensor) -> torch.Tensor:
    """`function` of ROWS rows at a time, the last ones filled up with zeros; see ROWS."""
    filled = F.pad(rows, (0, 0, 0, -len(rows) % ROWS))
    done = [function(block) for block in filled.split(ROWS)]
    return torch.cat(done)[: len(rows)] if done else function(rows)


def chunks(texts: Iterable[list[int]]) -> Iterator[list[list[int]]]:
    """The texts' tokens, as many texts at a time as have MAX_TOKENS together."""
    chunk: list[list[int]] = []
    n_tokens = 0
    for text in texts:
        if chunk and n_tokens + len(text) > MAX_TOKENS:
            yield chunk
            chunk, n_tokens = [], 0
        chunk.append(text)
        n_tokens += len(text)
    if chunk:
        yield chunk


def sha256(path: Path) -> str:
    """Of a file's content, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
