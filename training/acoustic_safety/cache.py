"""Features of many pieces, computed once: the two networks are frozen, so training the head is cheap."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm

from aircheck.inference.acoustic_safety.features import Features
from aircheck.inference.acoustic_safety.head import AcousticHead
from training.acoustic_safety.clips import Audio

BATCH = 16


@dataclass(frozen=True)
class Cached:
    """Features of pieces, fp16: Whisper's [N, PIECE_FRAMES · STEPS, N_WHISPER], YAMNet's [N, PIECE_FRAMES, 1024]."""

    whisper: Tensor
    yamnet: Tensor

    @classmethod
    @torch.inference_mode()
    def of(cls, features: Features, pieces: Iterable[Audio], count: int, title: str) -> Cached:
        whisper, yamnet = [], []
        with tqdm(total=count, desc=title, unit="piece", mininterval=10) as bar:
            for batch in _batches(iter(pieces)):
                outputs = features(torch.from_numpy(batch))
                whisper.append(outputs[0].half())
                yamnet.append(outputs[1].half())
                bar.update(len(batch))
        return cls(torch.cat(whisper), torch.cat(yamnet))

    @torch.inference_mode()
    def probabilities(self, head: AcousticHead) -> Tensor:
        """[N, PIECE_FRAMES, len(LEARNED)]"""
        parts = zip(self.whisper.split(256), self.yamnet.split(256), strict=True)
        return torch.cat([head(whisper.float(), yamnet.float()).sigmoid() for whisper, yamnet in parts])

    def save(self, path: Path, **others: Tensor) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({"whisper": self.whisper, "yamnet": self.yamnet, **others}, path)

    @classmethod
    def load(cls, path: Path) -> tuple[Cached, dict[str, Tensor]]:
        """The features, and what else was saved."""
        tensors = load_file(path)
        return cls(tensors.pop("whisper"), tensors.pop("yamnet")), tensors


def _batches(pieces: Iterator[Audio]) -> Iterator[np.ndarray]:
    while batch := list(islice(pieces, BATCH)):
        yield np.stack(batch)
