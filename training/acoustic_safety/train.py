"""Train the embedded acoustic classifier: `python -m training.acoustic_safety.train`.

Renders the scenes once (temporary folder), trains on augmented spectrograms, chooses each event's threshold and span
rule on held-out scenes, folds the threshold into the output bias and writes
`model_repository/acoustic_safety/1/network.safetensors`. Runs on CPU or GPU; interrupted, it resumes from its last
checkpoint. Fixed seeds: a step draws from its own generator.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from aircheck.inference.acoustic_safety.embedded import WEIGHTS_PATH
from aircheck.inference.acoustic_safety.events import EVENTS
from aircheck.inference.acoustic_safety.network import AcousticNetwork
from training.acoustic_safety.augment import augment, with_silence
from training.acoustic_safety.data import Cache, DataOptions, render
from training.acoustic_safety.rules import Choice, choose_rules, logit

VERSION = "2"
# What is rare, short and dangerous counts more in the loss than what fills most frames; in the order of EVENTS.
EVENT_WEIGHTS = (2.5, 2.5, 1.5, 1.2, 2.0, 0.5, 0.5, 0.3)


@dataclass(frozen=True)
class TrainOptions:
    """One rise and fall of the learning rate."""

    steps: int = 1800
    batch: int = 16
    peak_learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    warm_up: float = 0.08  # of the steps
    average_decay: float = 0.995
    seed: int = 1
    validation_shards: int = 1
    report_every: int = 50
    save_every: int = 200


class Trainer:
    """State of a training, and how it is saved: network, its running average and the optimiser's moments."""

    def __init__(self, options: TrainOptions, device: torch.device) -> None:
        torch.manual_seed(options.seed)
        self.device, self.step = device, 0
        self._weights = torch.tensor(EVENT_WEIGHTS, device=device)
        self.network = AcousticNetwork().to(device)
        self.average = AveragedModel(
            self.network, multi_avg_fn=get_ema_multi_avg_fn(options.average_decay), use_buffers=True
        )
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=options.peak_learning_rate, weight_decay=options.weight_decay
        )
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimiser, options.peak_learning_rate, options.steps, pct_start=options.warm_up
        )

    def advance(self, power: Tensor, labels: Tensor) -> float:
        """One optimiser step; returns the loss."""
        self.network.train()
        half = self.device.type == "cuda"  # CPUs without bf16 units are many times slower with it
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=half):
            logits = self.network.classify(power)
        loss = F.binary_cross_entropy_with_logits(logits.float(), labels, weight=self._weights)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 2.0)
        self.optimiser.step()
        self.schedule.step()
        self.average.update_parameters(self.network)
        self.step += 1
        return float(loss.detach())

    def _names(self) -> list[str]:
        return [name for name, _ in self.network.named_parameters()]

    @property
    def averaged(self) -> AcousticNetwork:
        network = self.average.module
        assert isinstance(network, AcousticNetwork)
        return network

    def save(self, path: Path) -> None:
        tensors = {f"network.{k}": v for k, v in self.network.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.state_dict().items()}
        for name, state in zip(self._names(), self.optimiser.state_dict()["state"].values(), strict=True):
            tensors |= {f"optimiser.{name}.{key}": value for key, value in state.items()}
        partial = path.with_suffix(".part")
        save_file({k: v.contiguous().clone() for k, v in tensors.items()}, partial, {"step": str(self.step)})
        partial.rename(path)

    def resume(self, path: Path) -> None:
        tensors = load_file(path, device=str(self.device))
        with safe_open(path, framework="pt") as file:
            self.step = int(file.metadata()["step"])

        def part(prefix: str) -> dict[str, Tensor]:
            return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}

        self.network.load_state_dict(part("network."))
        self.average.load_state_dict(part("average."))
        moments = part("optimiser.")
        state = self.optimiser.state_dict()
        keys = ("step", "exp_avg", "exp_avg_sq")
        state["state"] = {i: {k: moments[f"{name}.{k}"] for k in keys} for i, name in enumerate(self._names())}
        self.optimiser.load_state_dict(state)
        self.schedule.last_epoch = self.step - 1
        self.schedule._step_count = self.step
        self.schedule.step()


def _batch(cache: Cache, rows: np.ndarray, device: torch.device) -> tuple[Tensor, Tensor]:
    power = torch.from_numpy(cache.power[rows]).to(device).float()
    return torch.pow(10.0, power), torch.from_numpy(cache.labels[rows]).to(device).float()


@torch.inference_mode()
def predict(
    network: AcousticNetwork, cache: Cache, rows: np.ndarray, device: torch.device
) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and labels of scenes as rendered, shape = (rows, frames, events) each."""
    network.eval()
    chances, truths = [], []
    for first in range(0, len(rows), 64):
        power, labels = _batch(cache, rows[first : first + 64], device)
        chances.append(torch.sigmoid(network.classify(power)).cpu().numpy())
        truths.append(with_silence(power, labels).cpu().numpy())
    return np.concatenate(chances), np.concatenate(truths)


def export(network: AcousticNetwork, choices: Mapping[str, Choice], recipe: str, path: Path) -> None:
    """Write fp16 weights with each event's threshold moved to 0.5 by its bias, and the span rules beside them."""
    state = {key: value.detach().cpu() for key, value in network.state_dict().items()}
    shift = torch.tensor([logit(choice.threshold) for choice in choices.values()], dtype=torch.float32)
    state["head.bias"] = state["head.bias"] - shift
    state = {k: v.half().contiguous() if v.is_floating_point() else v for k, v in state.items()}
    metadata = {
        "events": json.dumps(EVENTS),
        "version": VERSION,
        "recipe": recipe,
        "data": "trained on synthetic sounds only",
        "thresholds": json.dumps({event: choice.threshold for event, choice in choices.items()}),
        "span_rules": json.dumps({event: choice.rule() for event, choice in choices.items()}),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(state, path, metadata)
    path.chmod(0o644)  # the server may run as another user
    print(f"wrote {path} ({path.stat().st_size / 1e6:.2f} MB)", flush=True)


def train(trainer: Trainer, cache: Cache, rows: int, options: TrainOptions, checkpoint: Path) -> None:
    """Train on the first `rows` scenes until the last step, from the checkpoint if there is one."""
    if checkpoint.exists():
        trainer.resume(checkpoint)
        print(f"resumed at step {trainer.step}", flush=True)
    begun, losses = time.monotonic(), []
    while trainer.step < options.steps:
        rng = np.random.default_rng([options.seed, trainer.step])
        picked = np.sort(rng.choice(rows, options.batch, replace=False))
        power, labels = augment(*_batch(cache, picked, trainer.device), rng)
        losses.append(trainer.advance(power, with_silence(power, labels)))
        if trainer.step % options.report_every == 0:
            pace_s = (time.monotonic() - begun) / len(losses)
            recent = np.mean(losses[-options.report_every :])
            left_s = (options.steps - trainer.step) * pace_s
            print(f"step {trainer.step}/{options.steps}  loss {recent:.4f}  {left_s:.0f} s left", flush=True)
        if trainer.step % options.save_every == 0 or trainer.step == options.steps:
            trainer.save(checkpoint)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--work",
        type=Path,
        default=Path(tempfile.gettempdir()) / "aircheck-acoustic",
        help="rendered scenes and the checkpoint; delete it to begin anew (default: %(default)s)",
    )
    parser.add_argument("--out", type=Path, default=WEIGHTS_PATH, help="weights to write (default: the server's)")
    parser.add_argument("--shards", type=int, default=DataOptions.shards, help="of 500 scenes each (%(default)s)")
    parser.add_argument("--steps", type=int, default=TrainOptions.steps, help="of 16 scenes each (%(default)s)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=1, help="of torch; one is faster than two on a shared machine")
    parser.add_argument("--workers", type=int, default=2, help="processes that render scenes")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    options, data = TrainOptions(steps=arguments.steps), DataOptions(shards=arguments.shards)
    render(arguments.work / "data", data, arguments.workers)
    cache = Cache.open(arguments.work / "data", data)
    training_rows = len(cache) - options.validation_shards * data.scenes_per_shard
    print(f"{training_rows} scenes to train on, {len(cache) - training_rows} to choose thresholds on", flush=True)

    trainer = Trainer(options, device)
    train(trainer, cache, training_rows, options, arguments.work / f"steps-{options.steps}.safetensors")
    held_out = np.arange(training_rows, len(cache))
    chances, truths = predict(trainer.averaged, cache, held_out, device)
    choices = choose_rules(chances, truths, [cache.spans[row] for row in held_out])
    recipe = f"training.acoustic_safety.train --shards {data.shards} --steps {options.steps}, seed {options.seed}"
    export(trainer.averaged, choices, recipe, arguments.out)


if __name__ == "__main__":
    main()
