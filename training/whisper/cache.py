"""Encode training windows once, so that the decoder can be trained alone at a fraction of the cost.

Usage: python -m training.whisper.cache WEIGHTS.safetensors SHARD... --sounds SOUNDS --out CACHE --batches 500

Writes CACHE/NNNNN.safetensors, one batch each: fp16 features of the frozen encoder and what the decoder should say.
`train --cache CACHE` trains the decoder on them. An interrupted run goes on at the first batch that is missing.
"""

import argparse
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from aircheck.inference.whisper.weights.checkpoint import from_path
from training.whisper.model import encode, mixed_precision
from training.whisper.windows import Corpus, WindowMaker, add_data_arguments, phone_table


@dataclass
class Encoded:
    """A batch behind the encoder; see model.encode and windows.Batch."""

    audio: Tensor  # [B, positions, state]
    bias: Tensor  # fp32 [1, 1, 1, positions]
    inputs: Tensor  # int64 [B, T]
    targets: Tensor  # int64 [B, T]
    guide: Tensor  # bool [B, T, frames / 2]


def read(folder: Path, rng: random.Random) -> Iterator[Encoded]:
    """Cached batches for ever, in a new order each time round."""
    while True:
        files = sorted(folder.rglob("*.safetensors"))  # another process may still be adding some
        if not files:
            raise FileNotFoundError(f"{folder}: no cached batches; write some with python -m training.whisper.cache")
        for path in rng.sample(files, len(files)):
            tensors = load_file(path)
            yield Encoded(**{**tensors, "guide": tensors["guide"].bool()})


@torch.no_grad()
def write(weights: Path, shards: list[Path], sounds: Path, out: Path, batches: int, positions: int, seed: int) -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    out.mkdir(parents=True, exist_ok=True)
    done = len(list(out.glob("*.safetensors")))
    model, maker = (
        from_path(weights).eval().to(device),
        WindowMaker(Corpus(shards, phone_table(shards)), sounds, seed + done),
    )
    begun, windows = time.time(), 0
    for number in range(done, batches):
        batch = maker.batch(positions)
        with mixed_precision(device):
            audio, bias = encode(model, batch.mel.to(device), batch.floor.to(device))
        tensors = {"audio": audio.half(), "bias": bias, "inputs": batch.inputs, "targets": batch.targets}
        partial = out / f"{number:05}.partial"
        save_file({k: v.cpu().contiguous() for k, v in {**tensors, "guide": batch.guide.byte()}.items()}, partial)
        partial.rename(partial.with_suffix(".safetensors"))
        windows += len(audio)
        if (number + 1) % 50 == 0:
            print(f"{number + 1}/{batches} batches, {windows} windows, {time.time() - begun:.0f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, help="safetensors whose encoder is used")
    add_data_arguments(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder to fill")
    parser.add_argument("--batches", type=int, default=500)
    parser.add_argument("--positions", type=int, default=8000, help="encoder positions in a batch, 4 MB of disk")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    o = parser.parse_args()
    torch.set_num_threads(o.threads)
    write(o.weights, o.shards, o.sounds, o.out, o.batches, o.positions, o.seed)


if __name__ == "__main__":
    main()
