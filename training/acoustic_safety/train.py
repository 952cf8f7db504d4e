"""Train the embedded acoustic classifier: `python -m training.acoustic_safety.train`.

Renders the scenes once (temporary folder), trains on augmented spectrograms, picks a threshold per event on held-out
scenes, folds it into the output bias and writes `model_repository/acoustic_safety/1/network.safetensors`. Runs on CPU
or GPU; interrupted, it resumes from its last checkpoint. Fixed seeds: a step draws from its own generator.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
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
from aircheck.inference.acoustic_safety.events import EVENTS, SAFETY_EVENTS
from aircheck.inference.acoustic_safety.network import AcousticNetwork
from training.acoustic_safety.augment import augment, with_silence
from training.acoustic_safety.data import Cache, DataOptions, render

VERSION = "1"


@dataclass(frozen=True)
class Cycle:
    """One rise and fall of the learning rate; the next starts from this one's averaged weights."""

    steps: int
    peak_learning_rate: float
    event_weights: tuple[float, ...]  # of each event's loss, in the order of EVENTS


# First everything alike; then what is rare, short and dangerous counts more than what fills most frames.
CYCLES = (
    Cycle(1600, 3e-3, (1.0,) * len(EVENTS)),
    Cycle(1300, 2e-3, (3.0, 2.5, 1.5, 1.2, 2.0, 0.5, 0.5, 0.3)),
)


@dataclass(frozen=True)
class TrainOptions:
    """What the cycles share."""

    batch: int = 32
    weight_decay: float = 1e-2
    warm_up: float = 0.08  # of the steps
    average_decay: float = 0.995
    seed: int = 1
    validation_shards: int = 1
    false_scene_rate: float = 0.015  # of held-out scenes without any safety event that may cross a threshold
    report_every: int = 50
    save_every: int = 200


class Trainer:
    """State of a cycle, and how it is saved: network, its running average and the optimiser's moments."""

    def __init__(self, cycle: Cycle, options: TrainOptions, device: torch.device, seed: int) -> None:
        torch.manual_seed(seed)
        self.cycle, self.device, self.step = cycle, device, 0
        self._weights = torch.tensor(cycle.event_weights, device=device)
        self.network = AcousticNetwork().to(device)
        self.average = AveragedModel(
            self.network, multi_avg_fn=get_ema_multi_avg_fn(options.average_decay), use_buffers=True
        )
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=cycle.peak_learning_rate, weight_decay=options.weight_decay
        )
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimiser, cycle.peak_learning_rate, cycle.steps, pct_start=options.warm_up
        )

    def advance(self, power: Tensor, labels: Tensor) -> float:
        """One optimiser step; returns the loss."""
        self.network.train()
        with torch.autocast(self.device.type, dtype=torch.bfloat16):
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

    def start_from(self, network: AcousticNetwork) -> None:
        self.network.load_state_dict(network.state_dict())
        self.average.module.load_state_dict(network.state_dict())

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


def choose_thresholds(chances: np.ndarray, truths: np.ndarray, false_scene_rate: float) -> dict[str, float]:
    """Per event: the best frame F1, raised until few scenes without any safety event cross it."""
    thresholds: dict[str, float] = {}
    harmless = ~truths[..., : len(SAFETY_EVENTS)].any((1, 2))
    grid = np.linspace(0.1, 0.95, 86)
    for column, event in enumerate(EVENTS):
        chance, truth = chances[..., column], truths[..., column] > 0
        hits = np.array([(truth & (chance >= t)).sum() for t in grid])
        f1 = 2 * hits / np.maximum(np.array([(chance >= t).sum() for t in grid]) + truth.sum(), 1)
        best = float(grid[int(f1.argmax())])
        if event in SAFETY_EVENTS and harmless.any():
            highest = chance[harmless].max(1)
            best = max(best, min(float(np.quantile(highest, 1 - false_scene_rate)), 0.95))
        thresholds[event] = best
        print(f"{event:15s} frame F1 {f1.max():.3f}  threshold {best:.2f}", flush=True)
    return thresholds


def export(network: AcousticNetwork, thresholds: dict[str, float], options: TrainOptions, path: Path) -> None:
    """Write the weights in fp16 with each event's threshold moved to 0.5 by its bias."""
    state = {key: value.detach().cpu() for key, value in network.state_dict().items()}
    shift = torch.tensor([np.log(t / (1 - t)) for t in thresholds.values()], dtype=torch.float32)
    state["head.bias"] = state["head.bias"] - shift
    state = {k: v.half().contiguous() if v.is_floating_point() else v for k, v in state.items()}
    metadata = {
        "events": json.dumps(EVENTS),
        "version": VERSION,
        "recipe": f"training.acoustic_safety.train, steps {[c.steps for c in CYCLES]}, seed {options.seed}",
        "data": "trained on synthetic sounds only",
        "thresholds": json.dumps({event: round(value, 3) for event, value in thresholds.items()}),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(state, path, metadata)
    path.chmod(0o644)  # the server may run as another user
    print(f"wrote {path} ({path.stat().st_size / 1e6:.2f} MB)", flush=True)


def run_cycle(trainer: Trainer, cache: Cache, rows: int, options: TrainOptions, seed: int, stem: Path) -> None:
    """Train on the first `rows` scenes until the cycle ends, from its checkpoint if there is one."""
    checkpoint, steps = stem.with_suffix(".safetensors"), trainer.cycle.steps
    if checkpoint.exists():
        trainer.resume(checkpoint)
        print(f"resumed at step {trainer.step}", flush=True)
    begun, losses = time.monotonic(), []
    while trainer.step < steps:
        rng = np.random.default_rng([seed, trainer.step])
        picked = np.sort(rng.choice(rows, options.batch, replace=False))
        power, labels = augment(*_batch(cache, picked, trainer.device), rng)
        losses.append(trainer.advance(power, with_silence(power, labels)))
        if trainer.step % options.report_every == 0:
            pace_s = (time.monotonic() - begun) / len(losses)
            recent = np.mean(losses[-options.report_every :])
            print(
                f"step {trainer.step}/{steps}  loss {recent:.4f}  {(steps - trainer.step) * pace_s:.0f} s left",
                flush=True,
            )
        if trainer.step % options.save_every == 0 or trainer.step == steps:
            trainer.save(checkpoint)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "aircheck-acoustic")
    parser.add_argument("--out", type=Path, default=WEIGHTS_PATH)
    parser.add_argument("--shards", type=int, default=DataOptions.shards, help="of 500 scenes each")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=1, help="of torch; one is faster than two on a shared machine")
    parser.add_argument("--workers", type=int, default=2, help="processes that render scenes")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    options, data = TrainOptions(), DataOptions(shards=arguments.shards, workers=arguments.workers)
    render(arguments.work / "data", data)
    cache = Cache.open(arguments.work / "data", data)
    held_out = options.validation_shards * data.scenes_per_shard
    training_rows = len(cache) - held_out
    print(f"{training_rows} scenes to train on, {held_out} held out", flush=True)

    network: AcousticNetwork | None = None
    for number, cycle in enumerate(CYCLES):
        trainer = Trainer(cycle, options, device, options.seed + number)
        if network is not None:
            trainer.start_from(network)
        run_cycle(trainer, cache, training_rows, options, options.seed + number, arguments.work / f"cycle-{number}")
        network = trainer.averaged
    assert network is not None
    chances, truths = predict(network, cache, np.arange(training_rows, len(cache)), device)
    export(network, choose_thresholds(chances, truths, options.false_scene_rate), options, arguments.out)


if __name__ == "__main__":
    main()
