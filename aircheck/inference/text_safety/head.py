"""The trained parts of the embedded classifier: small networks on top of the encoders' vectors, in a cascade.

The second encoder costs ten times the first. So it reads only what the first stage leaves in doubt, and ordinary talk
rarely is (Viola and Jones 2001, "Rapid Object Detection using a Boosted Cascade"). The first stage is a head on the
first encoder alone, made in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from aircheck.inference.text_safety import e5, use
from aircheck.inference.text_safety.e5 import E5Encoder
from aircheck.inference.text_safety.errors import CheckpointError
from aircheck.inference.text_safety.rows import by_rows
from aircheck.inference.text_safety.use import UseEncoder
from aircheck.policy.taxonomy import Category

HIDDEN = 256
"""Hidden units of a network; see `TextHead.mean_of`."""

MEMBERS = 3
"""Networks of the second head: what it gives is the mean of their logits."""

DROPOUT = 0.3

UNDOUBTED = 6.0
"""How far logits of the first stage that count are lowered: below most of what was read twice and found harmless."""

Encode = Callable[[Sequence[str]], torch.Tensor]
"""Texts to vectors, float32 [texts, features]."""


@dataclass(frozen=True)
class HeadCard:
    """What a head file says about itself (its safetensors metadata)."""

    name: str
    version: str
    recipe: str
    data: str
    encoder_sha256: str
    languages: tuple[str, ...]
    """ISO 639-1 codes of those in which it was measured and found to rank harm above the rest."""


class TextHead(nn.Module):
    """Vectors [texts, features] to a logit per category [texts, categories].

    `slope` and `offset` place each category's logits such that 0.5 and 0.85 mean what packs take them to mean; see
    training/text_safety/calibrate.py.
    """

    mean: torch.Tensor  # [features]
    scale: torch.Tensor  # [features]
    slope: torch.Tensor  # [categories]
    offset: torch.Tensor  # [categories]

    def __init__(self, features: int, members: int = 1) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))
        self.register_buffer("slope", torch.ones(len(Category)))
        self.register_buffer("offset", torch.zeros(len(Category)))
        self.network = nn.Sequential(
            nn.Dropout(DROPOUT),
            nn.Linear(features, members * HIDDEN),
            nn.GELU(),
            nn.Dropout(DROPOUT),
            nn.Linear(members * HIDDEN, len(Category)),
        )

    @classmethod
    def mean_of(cls, heads: Sequence[TextHead]) -> TextHead:
        """The head whose logits are the mean of theirs: one network as wide as all of them, not calibrated yet.

        Args:
            heads: at least one, fitted to the same table.
        """
        wide = cls(heads[0].mean.numel(), len(heads))
        wide.mean.copy_(heads[0].mean)
        wide.scale.copy_(heads[0].scale)
        enter, leave = ([head.network.get_submodule(index) for head in heads] for index in ("1", "4"))
        wide.network.load_state_dict(
            {
                "1.weight": torch.cat([layer.get_parameter("weight") for layer in enter]),
                "1.bias": torch.cat([layer.get_parameter("bias") for layer in enter]),
                "4.weight": torch.cat([layer.get_parameter("weight") for layer in leave], dim=1) / len(heads),
                "4.bias": torch.stack([layer.get_parameter("bias") for layer in leave]).mean(dim=0),
            }
        )
        return wide.eval()

    def scaled(self, vectors: torch.Tensor) -> torch.Tensor:
        """What the network reads, shape [texts, features]."""
        return (vectors - self.mean) / self.scale

    def raw(self, vectors: torch.Tensor) -> torch.Tensor:
        """Uncalibrated logits, shape [texts, categories]."""
        logits: torch.Tensor = self.network(self.scaled(vectors))
        return logits

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        return self.raw(vectors) * self.slope + self.offset


class Cascade(nn.Module):
    """A head on the first encoder's vectors, and one on both encoders' for what the first leaves in doubt.

    That is what reaches `doubt` in any category of the first, logits that training/text_safety/calibrate.py sets.
    """

    doubt: torch.Tensor  # [categories]

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("doubt", torch.zeros(len(Category)))
        self.first = TextHead(use.FEATURES)
        self.second = TextHead(use.FEATURES + e5.FEATURES, MEMBERS)

    def logits(self, texts: Sequence[str], encode_use: Encode, encode_e5: Encode) -> torch.Tensor:
        """Of each text, float32 [texts, categories]; a row never depends on its batch."""
        vectors = encode_use(texts)
        first = by_rows(self.first, vectors)
        doubtful = (first >= self.doubt).any(dim=1)
        logits = first - UNDOUBTED
        chosen = [text for text, is_doubtful in zip(texts, doubtful.tolist(), strict=True) if is_doubtful]
        if chosen:
            logits[doubtful] = by_rows(self.second, torch.cat([vectors[doubtful], encode_e5(chosen)], dim=-1))
        return logits


def encoder_sha256(first: UseEncoder, second: E5Encoder) -> str:
    """What a card names its encoders by."""
    return f"{first.sha256},{second.sha256}"


def save_heads(heads: Cascade, card: HeadCard, path: Path) -> None:
    """Writes both heads in half precision with their card; `load_heads` reads them back."""
    metadata = {**vars(card), "languages": ",".join(card.languages), "categories": ",".join(Category)}
    tensors = {name: tensor.half().contiguous() for name, tensor in heads.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, metadata=metadata)


def load_heads(path: Path) -> tuple[Cascade, HeadCard]:
    """The heads in single precision, ready to score, and their card.

    Raises CheckpointError when the file is missing, is no head, or was made for other categories.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118  # not a dict
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"text head {path}: cannot be read: {error}; make it with `python -m training.text_safety.train`"
        ) from None
    if metadata.get("categories") != ",".join(Category):
        raise CheckpointError(
            f"text head {path}: made for the categories '{metadata.get('categories')}', not for this taxonomy; "
            "train it again with `python -m training.text_safety.train`"
        )
    heads = Cascade()
    try:
        heads.load_state_dict(tensors)
        fields = {name: metadata[name] for name in HeadCard.__dataclass_fields__ if name != "languages"}
        card = HeadCard(**fields, languages=tuple(filter(None, metadata["languages"].split(","))))
    except (RuntimeError, KeyError) as error:
        raise CheckpointError(
            f"text head {path}: not of the shape that this version builds: {error}; "
            "train it again with `python -m training.text_safety.train`"
        ) from None
    return heads.eval(), card
