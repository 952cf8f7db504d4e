"""The training set: scenes rendered once into mel power and labels, cached in a temporary folder."""

from __future__ import annotations

import json
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from aircheck.inference.acoustic_safety.events import EVENTS
from aircheck.inference.acoustic_safety.network import FRAME_SAMPLES, MEL_HOP, N_FFT, N_MELS, SAMPLE_RATE, MelFrontEnd
from training.acoustic_safety.scenes import Pool, SceneOptions, TrueSpan, make_scene

SILENCE_DBFS = -50.0  # frames quieter than this are «silence»
_LOG_FLOOR = 1e-8  # keeps log10 finite in cached arrays; far below the network's own floor


@dataclass(frozen=True)
class DataOptions:
    """What to render. A shard is one job with its own seed and its own pool of costly sounds."""

    shards: int = 7
    scenes_per_shard: int = 500
    seed: int = 2026


def level_dbfs(power: torch.Tensor) -> torch.Tensor:
    """Level of each mel frame, dBFS, from its power [..., N_MELS] by Parseval's theorem."""
    window_energy = N_FFT * 3 / 8  # of a Hann window
    mean_square = power.sum(-1) / (N_FFT / 2 * window_energy)
    return 10 * torch.log10(mean_square + 1e-12)


def render_shard(folder: str, index: int, options: DataOptions) -> int:
    """Render one shard unless it exists; returns its number of scenes."""
    target = Path(folder) / f"power-{index:03d}.npy"
    if target.exists():
        return options.scenes_per_shard
    torch.set_num_threads(1)
    rng, pool, front_end = np.random.default_rng([options.seed, index]), Pool(), MelFrontEnd()
    scene_options = SceneOptions()
    samples = round(scene_options.duration_s * SAMPLE_RATE)
    frames = samples // FRAME_SAMPLES
    power = np.empty((options.scenes_per_shard, samples // MEL_HOP, N_MELS), dtype=np.float16)
    labels = np.empty((options.scenes_per_shard, frames, len(EVENTS)), dtype=np.uint8)
    spans = []
    for row in range(options.scenes_per_shard):
        scene = make_scene(rng, pool, scene_options)
        mel = front_end(torch.from_numpy(scene.waveform)[None])[0]
        power[row] = torch.log10(mel + _LOG_FLOOR).numpy()
        labels[row] = scene.targets(frames)
        spans.append([asdict(span) for span in scene.truth])
    target.with_name(f"spans-{index:03d}.json").write_text(json.dumps(spans))
    np.save(target.with_name(f"labels-{index:03d}.npy"), labels)
    partial = target.with_suffix(".part.npy")
    np.save(partial, power)
    partial.rename(target)  # a shard exists when it is whole
    return options.scenes_per_shard


def render(folder: Path, options: DataOptions, workers: int = 2) -> None:
    """Render the missing shards in worker processes.

    Raises `ValueError` when the folder holds a set made with other options.
    """
    folder.mkdir(parents=True, exist_ok=True)
    recipe = folder / "options.json"
    if recipe.exists() and json.loads(recipe.read_text()) != asdict(options):
        raise ValueError(f"{recipe}: rendered with other options; delete {folder} or choose another --work folder")
    recipe.write_text(json.dumps(asdict(options)))
    with ProcessPoolExecutor(workers) as pool:
        jobs = [pool.submit(render_shard, str(folder), index, options) for index in range(options.shards)]
        for done, job in enumerate(as_completed(jobs), start=1):
            job.result()
            print(f"rendered {done}/{options.shards} shards", flush=True)


@dataclass
class Cache:
    """The rendered set: log10 mel power fp16 [n, 512, 64], labels uint8 [n, 128, events], true spans by scene."""

    power: np.ndarray
    labels: np.ndarray
    spans: list[list[TrueSpan]]

    @classmethod
    def open(cls, folder: Path, options: DataOptions) -> Cache:
        power, labels = (
            np.concatenate([np.load(folder / f"{kind}-{index:03d}.npy") for index in range(options.shards)])
            for kind in ("power", "labels")
        )
        spans = [
            [TrueSpan(**span) for span in scene]
            for index in range(options.shards)
            for scene in json.loads((folder / f"spans-{index:03d}.json").read_text())
        ]
        return cls(power, labels, spans)

    def __len__(self) -> int:
        return len(self.labels)
