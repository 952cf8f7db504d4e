"""What is transcribed: the recordings of a manifest, and long files made of them."""

from __future__ import annotations

import json
import random
import wave
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from aircheck.evaluation.transcribe import LIMITS, Segment
from benchmarks.speech_activity import is_active
from preprocessing.speech_activity import CHUNK_S
from preprocessing.windows import Episode

SAMPLE_RATE_HZ = 16_000
_FIELDS = ("file", "text", "language", "speaker", "seconds")
_PAUSES_S = (0.4, 0.8)  # between joined recordings
_JOINED_FILE_S = 1200.0


@dataclass(frozen=True)
class Recording:
    """A recording of one language, and what is said in it.

    path : the audio file
    language : ISO 639-1 code
    parts : where the recordings that it was joined from are loud enough to be speech
    """

    path: str
    text: str
    language: str
    speaker: str
    duration_s: float
    parts: tuple[Segment, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """What an engine is given."""
        return asdict(replace(self, parts=()))


def read(manifest: Path) -> list[Recording]:
    """The recordings of a JSONL manifest; a folder stands for the `manifest.jsonl` in it.

    Raises:
        ValueError: a line lacks a field, or a file is missing.
    """
    path = manifest / "manifest.jsonl" if manifest.is_dir() else manifest
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        fields = json.loads(line)
        if missing := [name for name in _FIELDS if name not in fields]:
            raise ValueError(f"{path}, line {number}: has no {', '.join(missing)}; give {', '.join(_FIELDS)}")
        file = path.parent / fields["file"]
        if not file.is_file():
            raise ValueError(f"{path}, line {number}: {file} is missing")
        found.append(
            Recording(str(file), fields["text"], fields["language"], fields["speaker"], float(fields["seconds"]))
        )
    return found


def samples(path: str) -> np.ndarray:
    """The whole recording: fp32 [samples] at 16 kHz."""
    episode = Episode(Path(path).read_bytes(), LIMITS)
    return np.concatenate([window.samples for window in episode.windows(30.0)])


def join(recordings: Sequence[Recording], total_s: float, folder: Path, seed: int = 0) -> list[Recording]:
    """Files of about 20 minutes, `total_s` in all, of recordings in the most frequent language and a shuffled order.

    Short pauses lie between recordings. Where there are too few, they are taken again in another order.
    """
    rng = random.Random(seed)
    languages = [one.language for one in recordings]
    language = max(sorted(set(languages)), key=languages.count)
    pool = [one for one in recordings if one.language == language]
    order: list[Recording] = []
    joined: list[Recording] = []
    left_s = total_s
    while left_s > 0:
        wanted_s, held_s = min(left_s, _JOINED_FILE_S), 0.0
        pieces: list[np.ndarray] = []
        parts: list[Segment] = []
        texts: list[str] = []
        while held_s < wanted_s:
            if not order:
                order = rng.sample(pool, len(pool))
            one = order.pop()
            pause = np.zeros(int(rng.uniform(*_PAUSES_S) * SAMPLE_RATE_HZ), np.float32)
            heard = samples(one.path)
            active = np.flatnonzero(is_active(heard)) * CHUNK_S
            if len(active):
                parts.append(Segment(held_s + float(active[0]), held_s + float(active[-1]) + CHUNK_S, one.text))
            texts.append(one.text)
            pieces += [heard, pause]
            held_s += (len(heard) + len(pause)) / SAMPLE_RATE_HZ
        path = folder / f"joined_{len(joined)}.wav"
        _write(path, np.concatenate(pieces))
        joined.append(Recording(str(path), " ".join(texts), language, "many", held_s, tuple(parts)))
        left_s -= held_s
    return joined


def first(recordings: Sequence[Recording], most: int | None) -> list[Recording]:
    """At most so many, evenly spread over the manifest."""
    if most is None or most >= len(recordings):
        return list(recordings)
    return [replace(recordings[index * len(recordings) // most]) for index in range(most)]


def _write(path: Path, waveform: np.ndarray) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE_HZ)
        file.writeframes((waveform.clip(-1, 1) * 32767).round().astype("<i2").tobytes())
