"""Recordings with labels, and which of them are held out together.

A *source* is whoever published a recording: a repository or a package. Recordings of one source share microphones,
studios and mixing, so a figure counts only where the whole source was held out of training. Where a label has a single
source, its recordings are divided instead, and the table says so.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from aircheck.inference.acoustic_safety.events import SAFETY_EVENTS

Audio = NDArray[np.float32]

SAMPLE_RATE = 16_000
MEASURE = "measure"
FOLDS = 5
MAX_S = 20.0  # of a recording; the rest of a long piece of music says little more
# sources with many recordings of an event are spread, so that no fold takes away most of one event
FOLD_OF_SOURCE = {
    "CDDA-Soundpacks": 0,
    "ufoai-sound": 1,
    "phoenix-pd-gunshot-detection": 2,
    "sounds": 2,  # github:redeclipse/sounds
    "scorched3d-data": 3,
    "openarena-data": 3,
    "warzone2100-data": 4,
    "hedgewars-data": 4,
}


@dataclass(frozen=True)
class Clip:
    """A labelled recording.

    Attributes:
        path: the audio file.
        label: one of our events, `speech`, `music`, or `x_…` for what resembles an event.
        source: who published it.
        use: `train`, `measure`, or `extra` for recordings that are trained on and in no figure.
        fold: the fold in which it is held out; -1 where nothing is ever trained on it.
    """

    path: Path
    label: str
    source: str
    use: str
    fold: int

    @property
    def event(self) -> str | None:
        return self.label if self.label in SAFETY_EVENTS else None


def read_manifest(folder: Path) -> list[Clip]:
    """The clips of a folder with a `manifest.jsonl` of `file, label, source, use`. A folder of speech has no labels."""
    lines = [json.loads(line) for line in (folder / "manifest.jsonl").read_text("utf-8").splitlines()]
    rows = [
        (folder / line["file"], line.get("label", "speech"), source_of(line["source"]), line.get("use", MEASURE))
        for line in lines
    ]
    return with_folds(rows)


def with_folds(rows: Iterable[tuple[Path, str, str, str]]) -> list[Clip]:
    """Clips of (path, label, source, use)."""
    rows = list(rows)
    sources: dict[str, set[str]] = {}
    for _, label, source, use in rows:
        if use != MEASURE:
            sources.setdefault(label, set()).add(source)
    clips = []
    for path, label, source, use in rows:
        name = source if len(sources.get(label, ())) > 1 or label in SAFETY_EVENTS else path.name
        fold = FOLD_OF_SOURCE.get(name, digest(name) % FOLDS)
        clips.append(Clip(path, label, source, use, -1 if use == MEASURE else fold))
    return clips


def source_of(text: str) -> str:
    """`github:owner/name path` or `debian:package path` -> the repository's or package's name"""
    return text.split(" ")[0].split(":", 1)[-1].rsplit("/", 1)[-1]


def digest(text: str) -> int:
    return int(hashlib.sha256(text.encode()).hexdigest(), 16)


def decode(path: Path, max_s: float = MAX_S) -> Audio:
    """fp32 [samples], 16 kHz mono, at most `max_s`. Raises `av.error.FFmpegError`."""
    parts: list[Audio] = []
    samples, limit = 0, int(max_s * SAMPLE_RATE)
    resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE)
    with av.open(str(path), metadata_errors="ignore") as container:
        for frame in container.decode(audio=0):
            for resampled in resampler.resample(frame):
                parts.append(resampled.to_ndarray()[0])
                samples += len(parts[-1])
            if samples >= limit:
                break
        else:
            parts += [resampled.to_ndarray()[0] for resampled in resampler.resample(None)]
    return np.concatenate(parts).astype(np.float32)[:limit] if parts else np.zeros(0, np.float32)
