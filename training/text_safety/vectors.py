"""The encoder's vectors of many texts, kept in a file so that none is encoded twice."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from aircheck.inference.text_safety.encoder import FEATURES, SentenceEncoder
from aircheck.inference.text_safety.sentences import normalise

BATCH = 256
SAVE_EVERY = 40  # batches


class Vectors:
    """Vectors by text, in half precision; the file belongs to one encoder, whose hash its name bears."""

    def __init__(self, encoder: SentenceEncoder, folder: Path) -> None:
        self._encoder = encoder
        self._path = folder / f"vectors-{hashlib.sha256(encoder.sha256.encode()).hexdigest()[:12]}.npz"
        self._rows: dict[str, np.ndarray] = {}
        if self._path.exists():
            with np.load(self._path, allow_pickle=False) as file:
                self._rows = dict(zip(file["keys"].tolist(), file["vectors"], strict=True))

    def of(self, texts: Sequence[str]) -> torch.Tensor:
        """float32 [texts, FEATURES], of the texts as the classifier normalises them."""
        keys = [_key(text) for text in texts]
        missing = list({key: text for key, text in zip(keys, texts, strict=True) if key not in self._rows}.items())
        batches = range(0, len(missing), BATCH)
        for number, first in enumerate(tqdm(batches, desc="encoding", disable=not missing), 1):
            batch = missing[first : first + BATCH]
            vectors = self._encoder.encode([normalise(text) for _, text in batch]).cpu().numpy().astype(np.float16)
            self._rows.update(zip((key for key, _ in batch), vectors, strict=True))
            if number % SAVE_EVERY == 0 or number == len(batches):
                self._save()
        if not keys:
            return torch.zeros(0, FEATURES)
        return torch.from_numpy(np.stack([self._rows[key] for key in keys]).astype(np.float32))

    def _save(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        partial = self._path.with_suffix(".partial.npz")
        np.savez(partial, keys=np.array(list(self._rows)), vectors=np.stack(list(self._rows.values())))
        partial.replace(self._path)


def _key(text: str) -> str:
    return hashlib.sha1(normalise(text).encode(), usedforsecurity=False).hexdigest()
