"""Train the small Whisper on synthetic speech, from nothing or from earlier weights.

Usage: python -m training.whisper.train START.safetensors SHARD... --sounds SOUNDS --out RUN --minutes 75
       python -m training.whisper.train new SHARD... --sounds SOUNDS --out RUN --listen --minutes 10

Writes RUN/checkpoint.pt (resumes from it when started again) and RUN/model.safetensors (moving average of the weights)
every few minutes. The same command runs on a GPU.

The loss is next-token cross-entropy, plus the phone of every 20 ms frame (a throw-away head on the encoder), plus a
pull of two cross-attention heads of the last layer onto the word being written.
"""

import argparse
import math
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor
from torch.multiprocessing.spawn import spawn
from whisper.model import Whisper

from aircheck.inference.whisper.weights.checkpoint import from_path
from training.whisper.cache import Encoded, read
from training.whisper.model import decode, encode, fast_dtype, mixed_precision, save, untrained
from training.whisper.windows import (
    EOT,
    N_VOCAB,
    NO_SPEECH,
    T0,
    Batch,
    Corpus,
    WindowMaker,
    add_data_arguments,
    phone_table,
)

NEW = Path("new")


@dataclass(frozen=True)
class Options:
    start: Path  # weights to begin from, or "new"
    shards: list[Path]  # data written by speak.py
    sounds: Path  # written by sounds.py
    out: Path
    minutes: float  # wall-clock time of the whole schedule; a resumed run goes on where it stopped
    rate: float = 5e-4  # peak learning rate
    positions: int = 8000  # encoder positions (20 ms) in a batch
    replace: float = 0.1  # share of input tokens replaced, so that the decoder listens instead of guessing
    head: Path | None = None  # an earlier stage's checkpoint.pt, whose phone head to go on with
    cache: Path | None = None  # batches written by cache.py: train the decoder alone on them
    listen: bool = False  # train the encoder alone, to name the phone of every frame
    guided: float = 0.2  # weight of the attention loss
    phone: float = 0.2  # weight of the phone loss
    others: int = 1024  # tokens outside the training text drawn into each softmax
    average: float = 0.998  # decay of the moving average of the weights
    save_every_s: float = 180.0
    processes: int = 1  # workers that share each step; on a busy CPU, one thread each beats one worker's many
    seed: int = 1


class Vocabulary:
    """The softmax runs over the tokens of the training text plus a fresh sample of the others each step.

    The sample's scores are raised by the log of the share it stands for, so that the others learn to stay low.
    """

    def __init__(self, corpus: Corpus, device: str) -> None:
        used = {t for tokens in corpus.tokens for t in tokens} | {EOT, NO_SPEECH} | set(range(T0, N_VOCAB))
        self.used = torch.tensor(sorted(used), device=device)
        self.unused = torch.tensor(sorted(set(range(N_VOCAB)) - used), device=device)
        self.texts = int((self.used < EOT).sum())  # the first of them are text
        self.column = torch.full((N_VOCAB,), -100, device=device)
        self.column[self.used] = torch.arange(len(self.used), device=device)

    def loss(self, hidden: Tensor, table: Tensor, targets: Tensor, others: int) -> Tensor:
        """hidden: [N, state]; targets: [N] token ids -> mean cross-entropy."""
        sample = self.unused[torch.randint(len(self.unused), (others,), device=self.unused.device)]
        logits = F.linear(hidden, table[torch.cat([self.used, sample])]).float()
        logits[:, len(self.used) :] += math.log(len(self.unused) / others)
        return F.cross_entropy(logits, self.column[targets])

    def replace(self, inputs: Tensor, share: float) -> Tensor:
        """Swap this share of the text tokens for random ones of the training text, so that the decoder must listen."""
        drawn = self.used[torch.randint(self.texts, inputs.shape, device=inputs.device)]
        return torch.where((torch.rand(inputs.shape, device=inputs.device) < share) & (inputs < EOT), drawn, inputs)


def losses(
    model: Whisper, head: nn.Module, batch: Batch | Encoded, vocabulary: Vocabulary, o: Options
) -> dict[str, Tensor]:
    """The parts of the loss; without the phone part for a cached batch, whose encoder is frozen."""
    device, parts, frames = vocabulary.used.device, {}, batch.guide.shape[-1]
    inputs, targets, guide = (t.to(device) for t in (batch.inputs, batch.targets, batch.guide))
    if isinstance(batch, Encoded):
        audio, bias = batch.audio.to(device, fast_dtype(device.type)), batch.bias.to(device)
    else:
        audio, bias = encode(model, batch.mel.to(device), batch.floor.to(device))
        phones = head(audio[:, :frames]).float().flatten(0, 1)
        parts["phone"] = o.phone * F.cross_entropy(phones, batch.phones.to(device).flatten())
    if o.listen:
        return parts
    hidden, attention = decode(model, vocabulary.replace(inputs, o.replace), audio, bias)
    kept, guided = targets != -100, guide.any(-1)
    parts["text"] = vocabulary.loss(hidden[kept], model.decoder.token_embedding.weight, targets[kept], o.others)
    looked = (attention[:, :2, :, :frames].mean(1) * guide).sum(-1)[guided]
    parts["guided"] = -o.guided * (looked + 1e-4).log().mean()
    return parts


def learning_rate(step: int, done: float, peak: float) -> float:
    """Linear warm-up over 60 steps, then half a cosine down to 1 % over the time given."""
    return peak * min(1, (step + 1) / 60) * (0.495 * (1 + math.cos(math.pi * min(done, 1))) + 0.01)


def share_gradients(parameters: list[Tensor], elapsed: float, processes: int) -> float:
    """Average the gradients over the workers; -> rank 0's elapsed seconds, so that all stop at the same step."""
    if processes == 1:
        return elapsed
    clock = torch.tensor([elapsed if dist.get_rank() == 0 else 0.0], dtype=torch.float64)
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([g.flatten() for g in gradients]) / processes
    dist.all_reduce(clock)
    dist.all_reduce(flat)
    for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))
    return clock.item()


def draw_batches(o: Options, corpus: Corpus, seed: int) -> Iterator[Batch | Encoded]:
    if o.cache:
        yield from read(o.cache, random.Random(seed))
    maker = WindowMaker(corpus, o.sounds, seed)
    while True:
        yield maker.batch(o.positions)


def train(rank: int, o: Options, device: str, threads: int) -> None:
    torch.set_num_threads(threads)
    torch.manual_seed(o.seed + rank)
    if o.processes > 1:
        dist.init_process_group("gloo", f"file://{o.out.resolve()}/rendezvous", rank=rank, world_size=o.processes)
    checkpoint = o.out / "checkpoint.pt"
    resumed = torch.load(checkpoint, map_location=device, weights_only=True) if checkpoint.exists() else None
    earlier = torch.load(o.head, map_location=device, weights_only=True) if o.head and not resumed else resumed
    phones = earlier["phones"] if earlier else phone_table(o.shards)
    corpus = Corpus(o.shards, phones)
    model = (untrained() if o.start == NEW else from_path(o.start)).to(device)
    head = nn.Linear(model.dims.n_audio_state, len(phones) + 1).to(device)
    whole = list((model.decoder if o.cache else model.encoder if o.listen else model).parameters())
    own = [] if o.cache else list(head.parameters())
    parameters = [p for p in (*whole, *own) if p.requires_grad]
    groups = [  # the head is new and thrown away: it may learn faster than what it judges
        {"params": [p for p in whole if p.requires_grad and p.ndim > 1], "weight_decay": 0.02, "scale": 1.0},
        {"params": [p for p in whole if p.requires_grad and p.ndim < 2], "weight_decay": 0.0, "scale": 1.0},
        {"params": own, "weight_decay": 0.0, "scale": 5.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=o.rate, betas=(0.9, 0.98), fused=True)
    average = {key: value.detach().clone() for key, value in model.state_dict().items()}
    step, elapsed = 0, 0.0
    if earlier:
        head.load_state_dict(earlier["head"])
    if resumed:
        model.load_state_dict(resumed["model"])
        optimiser.load_state_dict(resumed["optimiser"])
        average, step, elapsed = resumed["average"], resumed["step"], resumed["elapsed"]
    vocabulary, batches = Vocabulary(corpus, device), draw_batches(o, corpus, o.seed + step + 1_000_003 * rank)
    live = list(model.state_dict().values())
    hours = corpus.frames.sum() / 360000
    if rank == 0:
        print(
            f"{len(corpus)} utterances, {hours:.1f} h, {len(vocabulary.used)} tokens, {len(phones)} phones", flush=True
        )
    sums: dict[str, list[float]] = {}
    begun, saved = time.time() - elapsed, time.time()
    while elapsed < o.minutes * 60:
        for group in optimiser.param_groups:
            group["lr"] = group["scale"] * learning_rate(step, elapsed / 60 / o.minutes, o.rate)
        batch = next(batches)
        with mixed_precision(device):
            parts = losses(model, head, batch, vocabulary, o)
        loss = torch.stack(list(parts.values())).sum()
        optimiser.zero_grad()
        loss.backward()
        elapsed = share_gradients(parameters, time.time() - begun, o.processes)
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        step += 1
        if rank:
            continue
        decay = min(o.average, step / (step + 20))
        torch._foreach_lerp_(list(average.values()), live, 1 - decay)
        for name, value in parts.items():
            sums.setdefault(name, []).append(value.item())
        if step % 50 == 0:
            means = ", ".join(f"{name} {np.mean(values):.3f}" for name, values in sums.items())
            print(f"step {step}, {elapsed / 60:.1f} of {o.minutes:g} min, {means}", flush=True)
            sums.clear()
        if time.time() - saved > o.save_every_s or elapsed >= o.minutes * 60:
            state = {"model": model.state_dict(), "head": head.state_dict(), "optimiser": optimiser.state_dict()}
            state |= {"average": average, "phones": phones, "step": step, "elapsed": time.time() - begun}
            torch.save(state, checkpoint.with_suffix(".partial"))
            checkpoint.with_suffix(".partial").rename(checkpoint)
            save(average, model.dims, o.out / "model.safetensors", note="moving average, training in progress")
            saved = time.time()
    if rank == 0:
        print(f"done: step {step}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("start", type=Path, help="safetensors to begin from, or new: from nothing")
    add_data_arguments(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder of this run")
    parser.add_argument("--minutes", type=float, default=75)
    parser.add_argument("--head", type=Path, help="an earlier stage's checkpoint.pt, whose phone head to go on with")
    parser.add_argument("--cache", type=Path, help="batches written by cache.py: train the decoder alone on them")
    parser.add_argument("--listen", action="store_true", help="train the encoder alone, on phones: the first stage")
    parser.add_argument("--rate", type=float, default=Options.rate, help="peak learning rate")
    parser.add_argument("--positions", type=int, default=Options.positions, help="encoder positions in a batch")
    parser.add_argument("--replace", type=float, default=Options.replace, help="share of input tokens replaced")
    parser.add_argument("--seed", type=int, default=Options.seed)
    parser.add_argument("--processes", type=int, default=1, help="workers that share each step (CPU)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of each worker")
    given = vars(parser.parse_args())
    threads = given.pop("threads")
    o = Options(**given)
    o.out.mkdir(parents=True, exist_ok=True)
    if o.processes == 1:
        train(0, o, "cuda" if torch.cuda.is_available() else "cpu", threads)
    else:
        (o.out / "rendezvous").unlink(missing_ok=True)
        spawn(train, (o, "cpu", threads), nprocs=o.processes)


if __name__ == "__main__":
    main()
