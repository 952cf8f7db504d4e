"""The trained part of the embedded classifier: a few small networks on top of the encoder's vectors."""

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

HIDDEN = 96
MEMBERS = 3


@dataclass(frozen=True)
class HeadCard:
    """What a head file says about itself (its safetensors metadata)."""

    name: str
    version: str
    recipe: str
    data: str
    encoder_sha256: str


class TextHead(nn.Module):
    """Vectors of a segment and of its context to a logit per category: the mean of MEMBERS networks, calibrated.

    Calibration is Platt's (Platt 1999, "Probabilistic outputs for support vector machines"): a slope and an offset
    per category, fitted on lines that the networks did not see.
    """

    mean: torch.Tensor  # [2 * FEATURES]
    scale: torch.Tensor  # [2 * FEATURES]
    slope: torch.Tensor  # [categories]
    offset: torch.Tensor  # [categories]

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(2 * FEATURES))
        self.register_buffer("scale", torch.ones(2 * FEATURES))
        self.register_buffer("slope", torch.ones(len(Category)))
        self.register_buffer("offset", torch.zeros(len(Category)))
        self.members = nn.ModuleList(
            nn.Sequential(
                nn.Dropout(0.3),
                nn.Linear(2 * FEATURES, HIDDEN),
                nn.GELU(),
                nn.Dropout(0.3),
                nn.Linear(HIDDEN, len(Category)),
            )
            for _ in range(MEMBERS)
        )

    def standardise(self, vectors: torch.Tensor) -> torch.Tensor:
        """Vectors [passages, 2 * FEATURES] with the training set's mean removed and its spread divided out."""
        return (vectors - self.mean) / self.scale

    def raw(self, vectors: torch.Tensor) -> torch.Tensor:
        """Uncalibrated logits, shape [passages, categories]."""
        standard = self.standardise(vectors)
        return torch.stack([member(standard) for member in self.members]).mean(dim=0)

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        """Calibrated logits, shape [passages, categories], from vectors [passages, 2 * FEATURES]."""
        return self.raw(vectors) * self.slope + self.offset


def save_head(head: TextHead, card: HeadCard, path: Path) -> None:
    """Writes the head in half precision with its card; `load_head` reads it back."""
    metadata = {**vars(card), "categories": ",".join(Category)}
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
        card = HeadCard(**{name: metadata[name] for name in HeadCard.__dataclass_fields__})
    except (RuntimeError, KeyError) as error:
        raise CheckpointError(
            f"text head {path}: not of the shape that this version builds: {error}; "
            "train it again with `python -m training.text_safety.train`"
        ) from None
    return head.eval(), card
