"""Speaks the lines and writes down what Whisper hears, for training and evaluation on real transcripts.

python -m training.text_safety.transcribe                   # both sets; an interrupted run goes on where it stopped
python -m training.text_safety.transcribe --only test

Every held-out line is spoken alone in its window. A sample of the training lines is spoken two or three to a window,
as talk comes, which is also three times as fast; of those, a line whose segments cannot be told from its neighbour's
is left out. Each line's voice is drawn from its own text, so it stays the same when others are added.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from whisper.audio import log_mel_spectrogram, pad_or_trim

from aircheck.inference.whisper.decoding.options import DecodingOptions
from aircheck.inference.whisper.engine import WhisperEngine
from aircheck.inference.whisper.weights.checkpoint import load
from aircheck_client.schema import Segment
from training.espeak import SAMPLE_RATE_HZ, Voice, say
from training.text_safety import transcripts
from training.text_safety.lines import Line, read_test, read_train
from training.text_safety.transcripts import Transcripts, spoken

CACHE = Path.home() / ".cache" / "aircheck" / "text_safety_transcripts.jsonl"
SAMPLE = 1500
"""Training lines that are transcribed."""

WINDOW_S = 12.0  # where windows of several lines end
LEAD_S, PAUSE_S = 0.3, 0.8  # silence before the first line, and after each
OVERLAP_S = 0.4  # a segment that reaches further than this into a line belongs to it
BATCH = 8  # windows


@dataclass(frozen=True)
class Window:
    """Lines spoken one after the other."""

    texts: tuple[str, ...]
    samples: NDArray[np.float32]
    spans_s: tuple[tuple[float, float], ...]  # from where to where each line sounds

    @property
    def duration_s(self) -> float:
        return len(self.samples) / SAMPLE_RATE_HZ


def voice_of(text: str) -> Voice:
    """American or British, man or woman, 125 to 175 words a minute; always the same for the same text."""
    rng = random.Random(f"voice/{text}")
    return Voice(
        language=rng.choice(["en-us", "en"]),
        variant=rng.choice(["", *(f"m{index}" for index in range(1, 9)), *(f"f{index}" for index in range(1, 6))]),
        words_per_minute=rng.randint(125, 175),
    )


def windows(texts: Sequence[str], within_s: float) -> Iterator[Window]:
    """The texts spoken in order, as many in a window as fit into `within_s`, and at least one."""
    batch: list[tuple[str, NDArray[np.float32]]] = []
    room_s = within_s
    for text in texts:
        speech = say(text, voice_of(text))[: int((30 - LEAD_S) * SAMPLE_RATE_HZ)]
        needed_s = len(speech) / SAMPLE_RATE_HZ + PAUSE_S
        if batch and needed_s > room_s:
            yield _window(batch)
            batch, room_s = [], within_s
        batch.append((text, speech))
        room_s -= needed_s
    if batch:
        yield _window(batch)


def _window(speeches: Sequence[tuple[str, NDArray[np.float32]]]) -> Window:
    samples = [np.zeros(int(LEAD_S * SAMPLE_RATE_HZ), np.float32)]
    spans_s = []
    for _, speech in speeches:
        start_s = sum(map(len, samples)) / SAMPLE_RATE_HZ
        spans_s.append((start_s, start_s + len(speech) / SAMPLE_RATE_HZ))
        samples += [speech, np.zeros(int(PAUSE_S * SAMPLE_RATE_HZ), np.float32)]
    joined = np.concatenate(samples)[: 30 * SAMPLE_RATE_HZ]
    return Window(tuple(text for text, _ in speeches), joined, tuple(spans_s))


def owned(window: Window, segments: Sequence[Segment]) -> list[tuple[str, ...] | None]:
    """Each line's segment texts; None for a line that shares a segment with another, or has none among others."""
    if len(window.texts) == 1:
        return [tuple(segment.text for segment in segments)]
    texts: list[list[str]] = [[] for _ in window.texts]
    shared: set[int] = set()
    for segment in segments:
        lines = [
            index
            for index, (start_s, end_s) in enumerate(window.spans_s)
            if segment.start_s < end_s - OVERLAP_S and segment.end_s > start_s + OVERLAP_S
        ]
        shared |= set(lines) if len(lines) > 1 else set()
        for index in lines:
            texts[index].append(segment.text)
    return [tuple(mine) if mine and index not in shared else None for index, mine in enumerate(texts)]


class Cache:
    """What was heard so far, a JSON object a line; bound to one checkpoint."""

    def __init__(self, path: Path, whisper_version: str) -> None:
        self._path, self._version = path, whisper_version
        self.segments: dict[str, tuple[str, ...] | None] = {}
        if path.exists():
            for row in path.read_text(encoding="utf-8").splitlines():
                self._take(row)

    def _take(self, row: str) -> None:
        try:
            entry = json.loads(row)
        except ValueError:
            return  # an interrupted run may leave half a row
        if entry.get("whisper_version") == self._version:
            heard = entry["segments"]
            self.segments[entry["key"]] = None if heard is None else tuple(heard)

    def add(self, key: str, heard: tuple[str, ...] | None) -> None:
        self.segments[key] = heard
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"key": key, "whisper_version": self._version, "segments": heard}) + "\n")


def sample(lines: Sequence[Line], count: int) -> list[Line]:
    """About `count` lines, as many from each category and kind; those written by hand first; stable when data grow."""
    groups: dict[tuple[str, str], list[Line]] = defaultdict(list)
    for line in lines:
        groups[line.category, line.kind].append(line)
    share = count // (len(groups) + 1)
    chosen = []
    for (category, _), group in groups.items():
        ordered = sorted(group, key=lambda line: ("{" in line.source, hashlib.sha256(line.text.encode()).digest()))
        chosen += ordered[: 2 * share if category == "benign" else share]
    return sorted(chosen, key=lambda line: hashlib.sha256(line.text.encode()).digest())


def transcribe(engine: WhisperEngine, texts: Sequence[str], within_s: float, cache: Cache, name: str) -> None:
    """Fills the cache with what Whisper hears; shows progress."""
    missing = [text for text in texts if _key(text, within_s) not in cache.segments]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        task = progress.add_task(name, total=len(texts), completed=len(texts) - len(missing))
        for batch in batched(windows(missing, within_s), BATCH):
            log_mels = np.stack([log_mel_spectrogram(pad_or_trim(w.samples), engine.n_mels).numpy() for w in batch])
            results = engine.transcribe(log_mels, [window.duration_s for window in batch])
            for window, result in zip(batch, results, strict=True):
                for text, heard in zip(window.texts, owned(window, result.segments), strict=True):
                    cache.add(_key(text, within_s), heard)
            progress.advance(task, sum(len(window.texts) for window in batch))


def _key(text: str, within_s: float) -> str:
    return f"{'among others' if within_s else 'alone'}/{text}"


def batched(items: Iterator[Window], size: int) -> Iterator[list[Window]]:
    while batch := list(islice(items, size)):
        yield batch


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=CACHE, help="what is done already (default: %(default)s)")
    parser.add_argument("--only", choices=["test", "train"], help="one set instead of both")
    parser.add_argument("--sample", type=int, default=SAMPLE, help="training lines to speak (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: %(default)s)")
    options = parser.parse_args(arguments)

    engine = WhisperEngine(
        load("base", torch.device("cpu"), torch.float32),
        DecodingOptions(language="en", temperatures=(0.0,)),
        n_slots=BATCH,
        threads=options.threads,
    )
    cache = Cache(options.cache, engine.version)
    for name, within_s, path in (("test", 0.0, transcripts.TEST), ("train", WINDOW_S, transcripts.TRAIN)):
        if options.only not in (None, name):
            continue
        lines = read_test() if name == "test" else sample(read_train(), options.sample)
        texts = [spoken(line) for line in lines]
        transcribe(engine, texts, within_s, cache, f"hearing {name} lines")
        heard = {text: cache.segments[_key(text, within_s)] for text in texts}
        found = {text: segments for text, segments in heard.items() if segments is not None}
        transcripts.write(Transcripts(engine.name, engine.version, found), path)
        print(f"wrote {len(found)} transcripts by Whisper {engine.name} to {path}")


if __name__ == "__main__":
    main()
