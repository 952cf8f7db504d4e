"""The default classifier: two multilingual sentence encoders and the heads that this repository trained for them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from aircheck.inference.text_safety import groups
from aircheck.inference.text_safety.e5 import E5Encoder
from aircheck.inference.text_safety.errors import CheckpointError
from aircheck.inference.text_safety.head import encoder_sha256, load_heads
from aircheck.inference.text_safety.rows import by_rows
from aircheck.inference.text_safety.sentences import normalise
from aircheck.inference.text_safety.use import UseEncoder
from aircheck.policy.taxonomy import Category
from aircheck.shipped import MODEL_REPOSITORY

_HATE = list(Category).index(Category.HATE)
HEAD = MODEL_REPOSITORY / "text_safety" / "1" / "head.safetensors"


class EmbeddedTextClassifier:
    """Its data, figures and limits are in training/text_safety/README.md."""

    def __init__(self, device: torch.device, head: Path = HEAD) -> None:
        """Loads encoders and heads. Raises CheckpointError when they are missing or do not belong together."""
        self._use, self._e5 = UseEncoder(device), E5Encoder(device)
        heads, card = load_heads(head)
        installed = encoder_sha256(self._use, self._e5)
        if card.encoder_sha256 != installed:
            raise CheckpointError(
                f"text head {head}: trained on encoders with SHA-256 {card.encoder_sha256}, but "
                f"the installed packages carry {installed}; install the pinned versions, or train the head again"
            )
        self._heads, self._groups = heads.to(device), groups.Groups(groups.read())
        self.name, self.version, self.languages = card.name, card.version, card.languages
        self.categories = tuple(Category)
        self.scores_profanity = False

    @torch.inference_mode()
    def score(self, texts: Sequence[str]) -> np.ndarray:
        if not texts:
            return np.zeros((0, len(self.categories)), np.float32)
        read = [normalise(text) for text in texts]
        of_others = [self._groups.of_others(text) for text in read]
        about = [at for at, (text, other) in enumerate(zip(read, of_others, strict=True)) if text != other]
        both = read + [of_others[at] for at in about]
        logits, others = self._heads.logits(both, self._use.encode, self._e5.encode).split([len(read), len(about)])
        logits[about, _HATE] = torch.maximum(logits[about, _HATE], others[:, _HATE])
        return by_rows(torch.sigmoid, logits).cpu().numpy()
