"""Augmentation of cached spectrograms: what level, equaliser, noise floor and company do to mel power."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torchaudio.functional import mask_along_axis_iid

from aircheck.inference.acoustic_safety.events import EVENTS, SAFETY_EVENTS
from aircheck.inference.acoustic_safety.network import N_MELS, TIME_STRIDE
from training.acoustic_safety.data import SILENCE_DBFS, level_dbfs
from training.acoustic_safety.dsp import Rng

SILENCE = EVENTS.index("silence")


@dataclass(frozen=True)
class AugmentOptions:
    """Ranges in dB; odds per example."""

    gain_db: float = 8.0
    equaliser_db: float = 6.0
    mix_odds: float = 0.25
    mix_db: tuple[float, float] = (-14.0, -2.0)  # a second scene's mean level against the first's
    floor_odds: float = 0.5
    floor_db: tuple[float, float] = (-60.0, -20.0)  # of band power; the network's own floor is at -50
    widest_band_mask: int = 10  # of N_MELS (SpecAugment, Park et al. 2019); no masks in time, which would hide labels


def _db(values: np.ndarray) -> np.ndarray:
    return np.asarray(10 ** (values / 10), dtype=np.float32)


def augment(power: Tensor, labels: Tensor, rng: Rng, options: AugmentOptions | None = None) -> tuple[Tensor, Tensor]:
    """Randomly changed mel power [batch, mel frames, N_MELS] and labels fp32 [batch, frames, events]."""
    options = options or AugmentOptions()
    batch, device = len(power), power.device

    def column(values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.asarray(values, dtype=np.float32)).to(device)

    order = torch.from_numpy(rng.permutation(batch)).to(device)
    harmless = labels[order][..., : len(SAFETY_EVENTS)].amax((1, 2)) == 0  # an event this faint would be a false label
    mixed = column(rng.random(batch) < options.mix_odds) * harmless
    own, other = (spectrum.mean((1, 2)) + 1e-6 for spectrum in (power, power[order]))
    level = mixed * column(_db(rng.uniform(*options.mix_db, batch))) * own / other
    power = power + power[order] * level[:, None, None]
    labels = torch.maximum(labels, labels[order] * mixed[:, None, None])

    knots = rng.uniform(-options.equaliser_db, options.equaliser_db, (batch, 6))
    curve = np.stack([np.interp(np.linspace(0, 5, N_MELS), np.arange(6), row) for row in knots])
    curve += rng.uniform(-options.gain_db, options.gain_db, (batch, 1))
    power = power * column(_db(curve))[:, None, :]
    seed = int(rng.integers(2**31))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        power = mask_along_axis_iid(power[:, None], options.widest_band_mask, 0.0, axis=3)[:, 0]

    floor = np.where(rng.random(batch) < options.floor_odds, _db(rng.uniform(*options.floor_db, batch)), 0.0)
    generator = torch.Generator(device).manual_seed(seed)
    noise = torch.empty_like(power).exponential_(1.0, generator=generator)  # power of Gaussian noise in a bin
    return power + noise * column(floor)[:, None, None], labels


def with_silence(power: Tensor, labels: Tensor) -> Tensor:
    """Labels whose silence column says where the level stays under `SILENCE_DBFS`."""
    frames = labels.shape[1]
    level = level_dbfs(power)[:, : frames * TIME_STRIDE].reshape(len(power), frames, TIME_STRIDE).amax(-1)
    labels = labels.clone()
    labels[..., SILENCE] = (level < SILENCE_DBFS).float()
    return labels
