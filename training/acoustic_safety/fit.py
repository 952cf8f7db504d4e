"""Training of the head on cached features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from aircheck.inference.acoustic_safety.events import SAFETY_EVENTS
from aircheck.inference.acoustic_safety.head import CLASSES, HIDDEN, LEARNED, YAMNET_CLASSES, AcousticHead, smoothed
from aircheck.inference.acoustic_safety.pieces import PIECE_FRAMES
from training.acoustic_safety.cache import Cached
from training.acoustic_safety.clips import Clip

COMPONENTS = {"whisper": 128, "yamnet": 192}  # principal ones that the head learns on; more add noise at this size
STEPS = 600
BATCH = 64
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 0.05
AVERAGING = 0.99  # of the weights over the steps
FEATURE_DROPOUT = 0.3  # of whole components
CLIP_WEIGHT = 4.0  # of the loss on each piece's highest frame
SOMEWHERE = 2.0  # a target: the event is in the piece, and in which frame is not known
# shares of a batch: scenes, recordings of each event, other recordings, scenes of synthesised events
GROUPS = (0.42, *[0.2 / len(SAFETY_EVENTS)] * len(SAFETY_EVENTS), 0.3, 0.08)
SMOOTHING = 0.02
MOST_POSITIVE_WEIGHT = 6.0
BANGS = ("gunshot", "explosion", "glass_breaking")
ONSET_FRAMES = 3  # of a bang, 0.96 s
SAMPLE = 200_000  # vectors of which the components are taken


@dataclass(frozen=True)
class Projection:
    """Standardised principal components: x -> (x - mean) / deviation @ matrix."""

    mean: Tensor  # [N]
    deviation: Tensor  # [N]
    matrix: Tensor  # [N, components]

    @classmethod
    def of(cls, vectors: Tensor, components: int) -> Projection:
        """Of fp16 [pieces, steps, N]"""
        flat = vectors.flatten(0, 1)
        chosen = torch.randperm(len(flat), generator=torch.Generator().manual_seed(0))[:SAMPLE]
        sample = flat[chosen].float()
        mean, deviation = sample.mean(0), sample.std(0)
        deviation = deviation + 0.01 * deviation.mean()
        sample = (sample - mean) / deviation
        _, axes = torch.linalg.eigh(sample.T @ sample / len(sample))
        return cls(mean, deviation, axes[:, -components:].clone())

    def __call__(self, vectors: Tensor) -> Tensor:
        """fp16 [pieces, steps, N] -> fp16 [pieces, steps, components]"""
        parts = [((part.float() - self.mean) / self.deviation @ self.matrix).half() for part in vectors.split(256)]
        return torch.cat(parts)

    def folded_into(self, layer: nn.Linear) -> nn.Linear:
        """The layer of components as a layer of features."""
        weight = layer.weight @ (self.matrix / self.deviation[:, None]).T
        folded = nn.Linear(weight.shape[1], weight.shape[0])
        with torch.no_grad():
            folded.weight.copy_(weight)
            folded.bias.copy_(layer.bias - weight @ self.mean)
        return folded


@dataclass(frozen=True)
class TrainingSet:
    """Scenes' projected features, targets and folds."""

    whisper: Tensor
    yamnet: Tensor
    classes: Tensor  # fp32 [N, PIECE_FRAMES, len(CLASSES)]: YAMNet's own logits
    targets: Tensor  # fp32 [N, PIECE_FRAMES, len(LEARNED)]: 1, 0, SOMEWHERE in the piece, or negative: unknown
    folds: Tensor
    odds: Tensor  # of being drawn among those of the same group
    groups: Tensor  # of `GROUPS`
    projections: dict[str, Projection]
    output: nn.Linear  # YAMNet's, of `CLASSES`

    @classmethod
    @torch.no_grad()
    def of(
        cls,
        scenes: Cached,
        targets: Tensor,
        folds: Tensor,
        output: nn.Linear,
        recordings: Sequence[tuple[Clip, Cached]] = (),
        synthetic: tuple[Cached, Tensor] | None = None,
    ) -> TrainingSet:
        """Scenes, recordings as they are, each with its features, and scenes of synthesised events, in no fold."""
        projections = {name: Projection.of(getattr(scenes, name), size) for name, size in COMPONENTS.items()}
        n_scenes = len(folds)
        parts = [
            cls(
                *_inputs(scenes, projections, output),
                onsets(targets),
                folds,
                torch.full((n_scenes,), 1 / n_scenes),
                torch.zeros(n_scenes, dtype=torch.long),
                projections,
                output,
            )
        ]
        for clip, cached in recordings:
            if clip.fold < 0:
                continue
            # of a recording with an event only the first piece: the event may lie in no other
            pieces = Cached(cached.whisper[:1], cached.yamnet[:1]) if clip.event else cached
            n = len(pieces.yamnet)
            parts.append(
                cls(
                    *_inputs(pieces, projections, output),
                    _weak(clip, n),
                    torch.full((n,), clip.fold),
                    torch.full((n,), 1 / n),
                    torch.full((n,), _group(clip)),
                    projections,
                    output,
                )
            )
        if synthetic is not None:
            pieces, truth = synthetic
            n = len(truth)
            nowhere = torch.full((n,), -1, dtype=folds.dtype)
            last = torch.full((n,), len(GROUPS) - 1)
            inputs = _inputs(pieces, projections, output)
            parts.append(cls(*inputs, onsets(truth), nowhere, torch.full((n,), 1 / n), last, projections, output))
        joined = {
            name: torch.cat([getattr(part, name) for part in parts])
            for name in ("whisper", "yamnet", "classes", "targets", "folds", "odds", "groups")
        }
        return cls(**joined, projections=projections, output=output)


def fit(data: TrainingSet, held_out: int | None, seed: int = 0, steps: int = STEPS) -> AcousticHead:
    """A head that has not heard the fold `held_out`."""
    torch.manual_seed(seed)
    rng = torch.Generator().manual_seed(seed)
    rows = torch.arange(len(data.folds)) if held_out is None else torch.nonzero(data.folds != held_out)[:, 0]
    head = _small_head()
    weights, odds = _positive_weights(data.targets[rows]), _odds(data.odds[rows], data.groups[rows])
    optimiser = torch.optim.AdamW(head.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    mean = AveragedModel(head, multi_avg_fn=get_ema_multi_avg_fn(AVERAGING))
    for step in range(steps):
        for group in optimiser.param_groups:
            warm = min(1.0, (step + 1) / 100)
            group["lr"] = LEARNING_RATE * warm * (0.5 + 0.5 * np.cos(np.pi * step / steps))
        batch = rows[torch.multinomial(odds, BATCH, replacement=True, generator=rng)]
        whisper, yamnet = _dropped(data.whisper[batch].float()), _dropped(data.yamnet[batch].float())
        logits = head.classify(head.whisper(whisper), head.yamnet(yamnet), data.classes[batch])
        optimiser.zero_grad()
        loss(logits, data.targets[batch], weights).backward()
        optimiser.step()
        if step >= steps // 4:
            mean.update_parameters(head)
    averaged = mean.module
    assert isinstance(averaged, AcousticHead)
    return _whole_head(averaged, data).eval().requires_grad_(False)


def loss(logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Cross-entropy of the known frames, and of each piece's highest frame."""
    frames = _cross_entropy(logits, targets)
    weight = torch.where(targets == 1, weights, torch.ones(())) * ((targets >= 0) & (targets != SOMEWHERE))
    highest, heard = (logits - 1e4 * (targets < 0)).amax(1), targets.amax(1)
    clips = _cross_entropy(highest, heard) * (heard >= 0)
    return (frames * weight).sum() / weight.sum() + CLIP_WEIGHT * clips.mean()


def _cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    soft = targets.clamp(0, 1) * (1 - SMOOTHING) + SMOOTHING / 2
    return F.binary_cross_entropy_with_logits(logits, soft, reduction="none")


def _small_head() -> AcousticHead:
    """A head on components, whose output begins as YAMNet's opinion."""
    head = AcousticHead()
    head.whisper = nn.Linear(COMPONENTS["whisper"], HIDDEN)
    head.yamnet = nn.Linear(COMPONENTS["yamnet"], HIDDEN)
    del head.classes  # frozen, and computed beforehand
    with torch.no_grad():
        head.opinion.weight.zero_()
        for row, event in enumerate(LEARNED):
            names = YAMNET_CLASSES[event][:5] if event == "siren" else YAMNET_CLASSES[event][:1]
            head.opinion.weight[row, [CLASSES.index(name) for name in names]] = 0.5 / len(names)
    return head.train()


def _whole_head(small: AcousticHead, data: TrainingSet) -> AcousticHead:
    head = AcousticHead()
    parts = small.state_dict()
    folded = {
        f"{name}.{kind}": value
        for name, projection in data.projections.items()
        for kind, value in projection.folded_into(getattr(small, name)).state_dict().items()
    }
    output = {f"classes.{kind}": value for kind, value in data.output.state_dict().items()}
    head.load_state_dict(parts | folded | output)
    return head


def onsets(targets: Tensor) -> Tensor:
    """Targets whose bangs are only asked for in their first frames: the rest rumbles, as thunder and drums do."""
    targets = targets.clone()
    for event in BANGS:
        column = targets[..., LEARNED.index(event)]
        run = torch.zeros(len(column))
        for frame in range(column.shape[1]):
            run = torch.where(column[:, frame] == 1, run + 1, torch.zeros(()))
            column[:, frame] = torch.where(run > ONSET_FRAMES, torch.tensor(-1.0), column[:, frame])
    return targets


def _inputs(pieces: Cached, projections: Mapping[str, Projection], output: nn.Linear) -> tuple[Tensor, Tensor, Tensor]:
    classes = torch.cat([output(smoothed(part.float())) for part in pieces.yamnet.split(256)])
    return projections["whisper"](pieces.whisper), projections["yamnet"](pieces.yamnet), classes


def _weak(clip: Clip, pieces: int) -> Tensor:
    """Targets of a recording whose label says what is in it, and not where."""
    target = torch.zeros(pieces, PIECE_FRAMES, len(LEARNED))
    target[..., [LEARNED.index("speech"), LEARNED.index("music")]] = -1.0
    if clip.label == "music":
        target[..., LEARNED.index("music")] = SOMEWHERE
    if clip.event:
        target[..., LEARNED.index(clip.event)] = SOMEWHERE
    return target


def _group(clip: Clip) -> int:
    return 1 + SAFETY_EVENTS.index(clip.event) if clip.event else 1 + len(SAFETY_EVENTS)


def _odds(odds: Tensor, groups: Tensor) -> Tensor:
    """Each group's share of the batches, divided among its pieces."""
    shares = torch.zeros_like(odds)
    for group, share in enumerate(GROUPS):
        mine = groups == group
        if mine.any():
            shares[mine] = odds[mine] / odds[mine].sum() * share
    return shares


def _positive_weights(targets: Tensor) -> Tensor:
    """Square roots of the odds against each event, so that rare ones count."""
    positive, negative = (targets == 1).sum((0, 1)) + 1, (targets == 0).sum((0, 1)) + 1
    return (negative / positive).sqrt().clamp(1.0, MOST_POSITIVE_WEIGHT)


def _dropped(vectors: Tensor) -> Tensor:
    kept = torch.rand(len(vectors), 1, vectors.shape[2]) >= FEATURE_DROPOUT
    return vectors * kept / (1 - FEATURE_DROPOUT)
