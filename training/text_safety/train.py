"""Trains the head of the embedded text classifier. Deterministic; minutes on two CPU cores.

python -m training.text_safety.transcribe    # what Whisper writes of them; needed again only after a change
python -m training.text_safety.train [--out model_repository/text_safety/1/head.safetensors]
python -m training.text_safety.evaluate
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from aircheck.inference.device import bf16_products
from aircheck.inference.text_safety.embedded import HEAD, embed
from aircheck.inference.text_safety.encoder import SentenceEncoder
from aircheck.inference.text_safety.head import HeadCard, save_head
from aircheck.policy.taxonomy import Category
from training.text_safety import transcripts
from training.text_safety.asr_noise import Confusions, Recogniser
from training.text_safety.examples import Example, Stage
from training.text_safety.fit import Table, fit
from training.text_safety.lines import Line, direct_frames, read_train

NAME = "aircheck-minilm-text"
VERSION = "2.1"


def training_examples(seed: int) -> list[Example]:
    """Every training line in its windows; the same for the same seed, data and transcripts."""
    lines = read_train()
    heard = heard_lines(lines)
    recogniser = Recogniser((word for line in lines for word in line.text.split()), confusions(lines, heard))
    return Stage(lines, recogniser, direct_frames(), heard, random.Random(seed)).examples(lines)


def heard_lines(lines: Sequence[Line]) -> dict[str, Line]:
    """By their text, the lines that were transcribed, as they were heard."""
    known = transcripts.read(transcripts.TRAIN)
    return {line.text: known.heard(line) for line in lines if transcripts.spoken(line) in known.segments}


def confusions(lines: Sequence[Line], heard: Mapping[str, Line]) -> Confusions:
    """What Whisper makes of which word."""
    learned = Confusions()
    for line in lines:
        if line.text in heard:
            learned.learn(line.text, heard[line.text].text)
    return learned


def table(examples: Sequence[Example], vectors: torch.Tensor) -> Table:
    """What the head learns from, with a row for each example."""
    return Table(
        vectors,
        targets=torch.tensor([[float(category in item.labels) for category in Category] for item in examples]),
        weights=torch.tensor([[float(category not in item.unsaid) for category in Category] for item in examples]),
        groups=tuple(item.line.source for item in examples),
        hard=torch.tensor([item.line.kind == "hard_negative" and item.line.by_hand for item in examples]),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=HEAD, help="where to write the head (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="seed of every draw (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=10, help="passes over the examples (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: %(default)s)")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)

    examples = training_examples(options.seed)
    print(f"embedding {len(examples)} examples", flush=True)
    encoder = SentenceEncoder(torch.device("cpu"))
    with bf16_products(
        torch.device("cpu")
    ):  # where bfloat16 is fast, a third of the time; vectors differ by 0.2 % of their spread
        vectors = embed(encoder, [item.passage for item in examples])
    print("fitting", flush=True)
    head = fit(table(examples, vectors), options.epochs, options.seed)
    recipe = f"python -m training.text_safety.train --seed {options.seed} --epochs {options.epochs}"
    card = HeadCard(NAME, VERSION, recipe, "trained on synthetic text", encoder.sha256)
    save_head(head, card, options.out)
    print(f"wrote {options.out} ({options.out.stat().st_size} bytes)")


if __name__ == "__main__":
    main()
