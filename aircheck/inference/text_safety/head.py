"""The trained part of the embedded classifier: a small network on top of the encoder's vectors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from aircheck.inference.text_safety.encoder import FEATURES
from aircheck.inference.text_safety.errors import CheckpointError
from aircheck.policy.taxonomy import Category

HIDDEN = 256
DROPOUT = 0.3


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
    """Vectors [texts, FEATURES] to a logit per category [texts, categories].

    `slope` and `offset` place each category's logits such that 0.5 and 0.85 mean what packs take them to mean; see
    training/text_safety/calibrate.py.
    """

    mean: torch.Tensor  # [FEATURES]
    scale: torch.Tensor  # [FEATURES]
    slope: torch.Tensor  # [categories]
    offset: torch.Tensor  # [categories]

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(FEATURES))
        self.register_buffer("scale", torch.ones(FEATURES))
        self.register_buffer("slope", torch.ones(len(Category)))
        self.register_buffer("offset", torch.zeros(len(Category)))
        self.network = nn.Sequential(
            nn.Dropout(DROPOUT),
            nn.Linear(FEATURES, HIDDEN),
            nn.GELU(),
            nn.Dropout(DROPOUT),
            nn.Linear(HIDDEN, len(Category)),
        )

    def scaled(self, vectors: torch.Tensor) -> torch.Tensor:
        """What the network reads, shape [texts, FEATURES]."""
        return (vectors - self.mean) / self.scale

    def raw(self, vectors: torch.Tensor) -> torch.Tensor:
        """Uncalibrated logits, shape [texts, categories]."""
        logits: torch.Tensor = self.network(self.scaled(vectors))
        return logits

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        return self.raw(vectors) * self.slope + self.offset


def save_head(head: TextHead, card: HeadCard, path: Path) -> None:
    """Writes the head in half precision with its card; `load_head` reads it back."""
    metadata = {**vars(card), "languages": ",".join(card.languages), "categories": ",".join(Category)}
    tensors = {name: tensor.half().contiguous() for name, tensor in head.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, metadata=metadata)


def load_head(path: Path) -> tuple[TextHead, HeadCard]:
    """The head in single precision, ready to score, and its card.

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
    head = TextHead()
    try:
        head.load_state_dict(tensors)
        fields = {name: metadata[name] for name in HeadCard.__dataclass_fields__ if name != "languages"}
        card = HeadCard(**fields, languages=tuple(filter(None, metadata["languages"].split(","))))
    except (RuntimeError, KeyError) as error:
        raise CheckpointError(
            f"text head {path}: not of the shape that this version builds: {error}; "
            "train it again with `python -m training.text_safety.train`"
        ) from None
    return head.eval(), card
