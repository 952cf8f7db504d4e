"""Recordings with their features, kept on disk, and their scores by the heads that never heard them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from aircheck.inference.acoustic_safety.features import Features
from aircheck.inference.acoustic_safety.head import AcousticHead
from aircheck.inference.acoustic_safety.pieces import cut, join, pieces_in
from training.acoustic_safety.cache import Cached
from training.acoustic_safety.clips import SAMPLE_RATE, Audio, Clip, decode
from training.acoustic_safety.folds import Scored
from training.acoustic_safety.packages import EXTRA


@dataclass(frozen=True)
class Recordings:
    """A set of recordings.

    Attributes:
        features: of all their pieces, one recording after the other.
    """

    name: str
    clips: Sequence[Clip]
    durations_s: Sequence[float]
    features: Cached

    @classmethod
    def of(
        cls,
        name: str,
        clips: Sequence[Clip],
        work: Path,
        features: Features,
        audio_of: Callable[[int], Audio] | None = None,
    ) -> Recordings:
        """From the work folder, if they are there.

        Args:
            audio_of: what is heard for the clip of an index, where it is not the clip's own audio.
        """
        path = work / f"{name}.safetensors"
        if not path.is_file():
            lengths: list[float] = []

            def pieces() -> Iterator[Audio]:
                for index, clip in enumerate(clips):
                    audio = audio_of(index) if audio_of else decode(clip.path)
                    lengths.append(len(audio) / SAMPLE_RATE)
                    yield from cut(audio, lengths[-1])

            cached = Cached.of(features, pieces(), len(clips), name)
            cached.save(path, durations_s=torch.tensor(lengths, dtype=torch.float64))
        cached, others = Cached.load(path)
        return cls(name, clips, others["durations_s"].tolist(), cached)

    def items(self) -> Iterator[tuple[Clip, Cached]]:
        """Each recording with its own features."""
        at = 0
        for clip, duration_s in zip(self.clips, self.durations_s, strict=True):
            end = at + pieces_in(duration_s)
            yield clip, Cached(self.features.whisper[at:end], self.features.yamnet[at:end])
            at = end

    def score(self, heads: Mapping[int, AcousticHead]) -> list[Scored]:
        """Each recording by the head of the fold in which it is held out."""
        by_fold = {fold: self.features.probabilities(head).numpy() for fold, head in heads.items()}
        scored, at = [], 0
        for clip, duration_s in zip(self.clips, self.durations_s, strict=True):
            end = at + pieces_in(duration_s)
            frames = join(list(by_fold[clip.fold][at:end]), duration_s)
            scored.append(Scored(clip.label, clip.source, clip.use != EXTRA, duration_s, frames))
            at = end
        return scored
