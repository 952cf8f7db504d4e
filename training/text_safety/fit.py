"""Fits the head's networks and its calibration on vectors."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from aircheck.inference.text_safety.head import TextHead
from aircheck.policy.taxonomy import Category

BATCH = 256
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 1e-2
FOLDS = 3
SMOOTHING = 0.02
"""Targets are SMOOTHING/2 and 1 - SMOOTHING/2: some labels are wrong, and no line deserves certainty."""

FALSE_RATE = 0.02
"""Share of the unseen hard negatives written by hand that may reach REVIEW in any category.

Platt's offsets are lowered together until it holds. Real talk holds far less harm than the training data, so
probabilities that are right there are too high in use; and half of these hard negatives hold recognition errors.
"""
REVIEW = 0.5


@dataclass(frozen=True)
class Table:
    """What is learned from: `vectors` [examples, 2 * FEATURES], `targets` and `weights` [examples, categories].

    A weight of 0 means that nothing is said about that category there. `groups` keeps alike examples together.
    `hard` [examples] marks the hard negatives written by hand.
    """

    vectors: torch.Tensor
    targets: torch.Tensor
    weights: torch.Tensor
    groups: tuple[str, ...]
    hard: torch.Tensor

    def take(self, rows: Sequence[int]) -> Table:
        index = torch.tensor(rows)
        return Table(
            self.vectors[index],
            self.targets[index],
            self.weights[index],
            tuple(self.groups[row] for row in rows),
            self.hard[index],
        )


def fit(table: Table, epochs: int, seed: int) -> TextHead:
    """A head trained on the table and calibrated by cross-validation over its groups."""
    slope, offset = _calibration(table, epochs, seed)
    head = _train(table, epochs, seed)
    head.slope.copy_(slope)
    head.offset.copy_(offset)
    return head.eval()


def _train(table: Table, epochs: int, seed: int) -> TextHead:
    torch.manual_seed(seed)
    head = TextHead()
    head.mean.copy_(table.vectors.mean(dim=0))
    head.scale.copy_(table.vectors.std(dim=0) + 1e-6)
    targets = table.targets * (1 - SMOOTHING) + SMOOTHING / 2
    with torch.no_grad():
        vectors = head.standardise(table.vectors)
    for member in head.members:
        _train_member(member, vectors, targets, table.weights, epochs)
    return head.eval()


def _train_member(
    member: nn.Module, vectors: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor, epochs: int
) -> None:
    optimizer = torch.optim.AdamW(member.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    batches = -(-len(vectors) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=epochs * batches)
    member.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(vectors)).split(BATCH):
            losses = nn.functional.binary_cross_entropy_with_logits(
                member(vectors[rows]), targets[rows], reduction="none"
            )
            loss = (losses * weights[rows]).sum() / weights[rows].sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()


def _calibration(table: Table, epochs: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Platt's slope and offset per category, from logits of networks that saw nothing of a row's group.

    The offsets are then lowered together until no more than FALSE_RATE of the hard rows reach REVIEW.
    """
    names = sorted(set(table.groups))
    random.Random(seed).shuffle(names)
    fold_of = {name: index % FOLDS for index, name in enumerate(names)}
    raw = torch.zeros_like(table.targets)
    for fold in range(FOLDS):
        seen = [row for row, group in enumerate(table.groups) if fold_of[group] != fold]
        unseen = [row for row, group in enumerate(table.groups) if fold_of[group] == fold]
        head = _train(table.take(seen), epochs, seed + 1 + fold)
        with torch.no_grad():
            raw[unseen] = head.raw(table.vectors[unseen])
    slope, offset = platt(raw, table.targets, table.weights)
    highest = (raw[table.hard] * slope + offset).amax(dim=1)  # [hard rows]
    excess = torch.quantile(highest, 1 - FALSE_RATE) - torch.logit(torch.tensor(REVIEW))
    return slope, offset - excess.clamp(min=0)


def platt(raw: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Slope and offset [categories] that make sigmoid(raw * slope + offset) most likely; the slope stays positive."""
    log_slope = torch.zeros(len(Category), requires_grad=True)
    offset = torch.zeros(len(Category), requires_grad=True)
    optimizer = torch.optim.LBFGS([log_slope, offset], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        losses = nn.functional.binary_cross_entropy_with_logits(
            raw * log_slope.exp() + offset, targets, reduction="none"
        )
        total = (losses * weights).sum() / weights.sum()
        total.backward()
        return total

    optimizer.step(loss)
    return log_slope.detach().exp(), offset.detach()
