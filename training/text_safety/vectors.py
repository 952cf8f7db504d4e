"""An encoder's vectors of many texts, kept in a file so that none is encoded twice."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from aircheck.inference.text_safety.e5 import E5Encoder
from aircheck.inference.text_safety.head import encoder_sha256
from aircheck.inference.text_safety.sentences import normalise
from aircheck.inference.text_safety.use import UseEncoder

BATCH = 256
SAVE_EVERY = 40  # batches


class Vectors:
    """Vectors by text, in half precision; the file belongs to one encoder, whose hash its name bears."""

    def __init__(self, encoder: UseEncoder | E5Encoder, folder: Path) -> None:
        self._encoder = encoder
        self._path = folder / f"vectors-{encoder.sha256[:12]}.npz"
        self._rows: dict[str, np.ndarray] = {}
        if self._path.exists():
            with np.load(self._path, allow_pickle=False) as file:
                self._rows = dict(zip(file["keys"].tolist(), file["vectors"], strict=True))

    def of(self, texts: Sequence[str]) -> torch.Tensor:
        """float32 [texts, features], of the texts as the classifier normalises them."""
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
            return self._encoder.encode([])
        return torch.from_numpy(np.stack([self._rows[key] for key in keys]).astype(np.float32))

    def _save(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        partial = self._path.with_suffix(".partial.npz")
        np.savez(partial, keys=np.array(list(self._rows)), vectors=np.stack(list(self._rows.values())))
        partial.replace(self._path)


@dataclass(frozen=True)
class EncoderVectors:
    """The vectors of both encoders, kept apart: the first head reads those of one."""

    use: Vectors
    e5: Vectors
    sha256: str

    @classmethod
    def kept_in(cls, folder: Path) -> EncoderVectors:
        first, second = UseEncoder(torch.device("cpu")), E5Encoder(torch.device("cpu"))
        return cls(Vectors(first, folder), Vectors(second, folder), encoder_sha256(first, second))

    def both(self, texts: Sequence[str]) -> torch.Tensor:
        """Side by side, as the second head reads them; float32 [texts, features]."""
        return torch.cat([self.use.of(texts), self.e5.of(texts)], dim=-1)


def _key(text: str) -> str:
    return hashlib.sha1(normalise(text).encode(), usedforsecurity=False).hexdigest()
