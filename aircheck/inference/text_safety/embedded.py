"""The default classifier: a multilingual sentence encoder and the head that this repository trained for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from aircheck.inference.text_safety.encoder import SentenceEncoder
from aircheck.inference.text_safety.errors import CheckpointError
from aircheck.inference.text_safety.head import load_head
from aircheck.inference.text_safety.rows import by_rows
from aircheck.inference.text_safety.sentences import normalise
from aircheck.policy.taxonomy import Category
from aircheck.shipped import MODEL_REPOSITORY

HEAD = MODEL_REPOSITORY / "text_safety" / "1" / "head.safetensors"


class EmbeddedTextClassifier:
    """Its data, figures and limits are in training/text_safety/README.md."""

    def __init__(self, device: torch.device, head: Path = HEAD) -> None:
        """Loads the encoder and the head. Raises CheckpointError when they are missing or do not belong together."""
        self._encoder = SentenceEncoder(device)
        network, card = load_head(head)
        if card.encoder_sha256 != self._encoder.sha256:
            raise CheckpointError(
                f"text head {head}: trained on an encoder with SHA-256 {card.encoder_sha256}, but "
                f"the installed packages carry {self._encoder.sha256}; install the pinned versions, or train "
                "the head again"
            )
        self._head = network.to(device)
        self.name, self.version, self.languages = card.name, card.version, card.languages
        self.categories = tuple(Category)
        self.scores_profanity = False

    @torch.inference_mode()
    def score(self, texts: Sequence[str]) -> np.ndarray:
        if not texts:
            return np.zeros((0, len(self.categories)), np.float32)
        vectors = self._encoder.encode([normalise(text) for text in texts])
        return by_rows(lambda rows: torch.sigmoid(self._head(rows)), vectors).cpu().numpy()
