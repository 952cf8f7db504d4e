"""Trains the heads of the embedded text classifier. The same data and seed give the same heads.

python -m training.text_safety.train DATA_FOLDER [--cache FOLDER] [--out FILE]
python -m training.text_safety.evaluate DATA_FOLDER
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from aircheck.inference.text_safety.embedded import HEAD
from aircheck.inference.text_safety.head import MEMBERS, Cascade, Encode, HeadCard, TextHead, save_heads
from aircheck.inference.text_safety.passage import in_context
from aircheck.policy.taxonomy import Category
from training.text_safety.calibrate import calibrate, doubt, hard_negatives, window_logits
from training.text_safety.fit import Table, fit
from training.text_safety.sources import Example, Window, capped, own_lines, public_lines, talk
from training.text_safety.vectors import EncoderVectors

NAME = "aircheck-use-e5-text"
VERSION = "8"
CACHE = Path.home() / ".cache" / "aircheck" / "text_safety"
FOLDS = 3

LANGUAGES = ("en", "de", "es", "fr", "it", "nl", "pl", "pt", "zh")
"""Those in which the head was measured and its AUC is at least 0.70; `training.text_safety.evaluate` measures them."""


@dataclass(frozen=True)
class TrainingData:
    """Labelled lines and ordinary talk."""

    examples: list[Example]
    windows: list[Window]

    @classmethod
    def read(cls, folder: Path) -> TrainingData:
        return cls(capped(public_lines(folder, "train")) + own_lines(), talk(folder, "train"))

    def without(self, source: str) -> TrainingData:
        return TrainingData([example for example in self.examples if example.source != source], self.windows)


def train(data: TrainingData, encode: Encode, seed: int, members: int = 1) -> TextHead:
    """A calibrated head on the vectors that `encode` gives.

    For the calibration, every title of talk is scored by a head that learned from the others.
    """
    titles = sorted({window.title for window in data.windows})
    fold_of = {title: index % FOLDS for index, title in enumerate(titles)}
    spoken = [window.sentences for window in data.windows]
    unseen = np.zeros((len(spoken), len(Category)), dtype=np.float32)
    for fold in tqdm(range(FOLDS), desc="calibrating"):
        held_out = [row for row, window in enumerate(data.windows) if fold_of[window.title] == fold]
        rest = [window for window in data.windows if fold_of[window.title] != fold]
        head = fit(table(data.examples, rest, encode), seed, members)
        unseen[held_out] = window_logits(_scored(head, encode), [spoken[row] for row in held_out])
    for row, window in enumerate(data.windows):
        unseen[row, [category in window.unknown for category in Category]] = -np.inf
    head = fit(table(data.examples, data.windows, encode), seed, members)
    score = _scored(head, encode)
    novels = [row for row, window in enumerate(data.windows) if window.unknown]
    fiction = window_logits(score, [spoken[row] for row in novels])
    for row, window in zip(fiction, (data.windows[row] for row in novels), strict=True):
        row[[category not in window.unknown for category in Category]] = -np.inf
    calibrate(head, unseen, fiction, hard_negatives(score))
    return head


def _scored(head: TextHead, encode: Encode) -> Encode:
    return lambda texts: head(encode(texts))


def table(examples: Sequence[Example], windows: Sequence[Window], encode: Encode) -> Table:
    """What the head learns from: the lines, and ordinary talk as harmless, each sentence alone and amid neighbours."""
    spoken = [
        Example(text, dict.fromkeys(set(Category) - window.unknown, False), f"talk/{window.source}", window.title)
        for window in windows
        for text in dict.fromkeys([*window.sentences, *in_context(window.sentences)])
    ]
    rows = [*examples, *spoken]
    return Table.of(rows, encode([row.text for row in rows]))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of the public sets, *.jsonl.gz")
    parser.add_argument("--out", type=Path, default=HEAD, help="where to write the head (default: %(default)s)")
    parser.add_argument("--cache", type=Path, default=CACHE, help="where vectors are kept (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=2, help="seed of every draw (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: %(default)s)")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)

    vectors = EncoderVectors.kept_in(options.cache)
    data = TrainingData.read(options.data)
    heads = Cascade()
    heads.first = train(data, vectors.use.of, options.seed)
    heads.doubt.copy_(doubt(_scored(heads.first, vectors.use.of), [window.sentences for window in data.windows]))
    heads.second = train(data, vectors.both, options.seed, MEMBERS)
    recipe = f"python -m training.text_safety.train DATA_FOLDER --seed {options.seed}"
    sources = ", ".join(sorted({example.source for example in data.examples} | {item.source for item in data.windows}))
    save_heads(heads, HeadCard(NAME, VERSION, recipe, sources, vectors.sha256, LANGUAGES), options.out)
    print(f"wrote {options.out} ({options.out.stat().st_size} bytes)")


if __name__ == "__main__":
    main()
