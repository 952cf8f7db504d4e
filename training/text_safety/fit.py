"""Fits the head's network on vectors and what is known of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from aircheck.inference.text_safety.head import TextHead
from aircheck.policy.taxonomy import Category
from training.text_safety.sources import Example

EPOCHS = 10
BATCH = 256
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 1e-2
SMOOTHING = 0.02
"""Targets are SMOOTHING/2 and 1 - SMOOTHING/2: some labels are wrong, and no line deserves certainty."""

CELL = 300
"""Lines that a source counts for, at most, as harmful and again as harmless, in one category."""

COMMENTS = (
    "convabuse", "davidson", "edos", "implicit_hate", "misogyny", "surge_toxicity", "toxigen", "wikipedia_toxicity",
)  # fmt: skip
"""Sources of comments and posts. What their annotators called hate differs so much that a head that learns from one
ranks another hardly better than chance; see `Conventions`."""

COMMENTS_CELL = 100

CONVENTION_RATE = 0.2
"""Scale of those terms: below 1, so that what can be learned in common is."""

CELLS: Mapping[str, int] = {"own": 20_000, "talk": 8000} | dict.fromkeys(COMMENTS, COMMENTS_CELL)
MAX_POSITIVE_WEIGHT = 8.0


@dataclass(frozen=True)
class Table:
    """What is learned from: `vectors` [rows, features], `targets` and `known` [rows, categories], 0 or 1 each."""

    vectors: torch.Tensor
    targets: torch.Tensor
    known: torch.Tensor
    sources: tuple[str, ...]

    @classmethod
    def of(cls, examples: Sequence[Example], vectors: torch.Tensor) -> Table:
        """Examples and the vectors of their texts, in the same order."""
        return cls(
            vectors,
            torch.tensor(
                [[float(example.labels.get(category, False)) for category in Category] for example in examples]
            ),
            torch.tensor([[float(category in example.labels) for category in Category] for example in examples]),
            tuple(example.source for example in examples),
        )

    def weights(self) -> torch.Tensor:
        """The weight of each row in each category's loss, float32 [rows, categories]; 1 on average over the rows.

        A source counts for CELL lines at most, harmful lines weigh up to MAX_POSITIVE_WEIGHT times as much where they
        are few, and a category of few lines weighs more than its share.
        """
        weights = self.known.clone()
        for source in dict.fromkeys(self.sources):
            rows = torch.tensor([name == source for name in self.sources])[:, None]
            for value in (0, 1):
                cell = rows & (self.known > 0) & (self.targets == value)
                most = CELLS.get(source.split("/")[0], CELL)
                share = (most / cell.sum(dim=0).clamp(min=1)).clamp(max=1)  # [categories]
                weights = torch.where(cell, weights * share, weights)
        harmful, harmless = (weights * self.targets).sum(dim=0), (weights * (1 - self.targets)).sum(dim=0)
        boost = (harmless / harmful.clamp(min=1e-6) / 4).clamp(1, MAX_POSITIVE_WEIGHT)
        weights = torch.where(self.targets > 0, weights * boost, weights)
        weights = weights / weights.sum(dim=0).clamp(min=1).pow(0.7)
        return weights * len(weights) / weights.sum()


class Conventions(nn.Module):
    """What is peculiar to the labels of each source of comments: a linear term that is added to the head's logits.

    It is thrown away after training. Where sources contradict each other about what is hateful, their terms take that
    up, and the head keeps what they agree about, among themselves and with this project's own lines, which have none.
    Shared and source-specific weights as in Daume III, "Frustratingly Easy Domain Adaptation", ACL 2007.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.terms = nn.Linear(features, len(COMMENTS) * len(Category))
        nn.init.zeros_(self.terms.weight)
        nn.init.zeros_(self.terms.bias)

    def forward(self, inputs: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        """float32 [rows, categories].

        Args:
            inputs: scaled vectors, [rows, features].
            numbers: of the rows' sources in COMMENTS, [rows]; -1 for others, whose terms are 0.
        """
        terms = self.terms(inputs).view(len(inputs), len(COMMENTS), len(Category))
        own = terms[torch.arange(len(inputs)), numbers.clamp(min=0)]
        return CONVENTION_RATE * own * (numbers >= 0)[:, None]


def fit(table: Table, seed: int, members: int = 1) -> TextHead:
    """A head trained on the table, not calibrated: the mean of so many networks that differ in their seeds."""
    return TextHead.mean_of([_fit(table, members * seed + member) for member in range(members)])


def _fit(table: Table, seed: int) -> TextHead:
    torch.manual_seed(seed)
    features = table.vectors.shape[1]
    head = TextHead(features)
    head.mean.copy_(table.vectors.mean(dim=0))
    head.scale.copy_(table.vectors.std(dim=0) + 1e-4)
    targets = table.targets * (1 - SMOOTHING) + SMOOTHING / 2
    weights = table.weights()
    conventions = Conventions(features)
    learned = [*head.parameters(), *conventions.parameters()]
    optimizer = torch.optim.AdamW(learned, lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    batches = -(-len(targets) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=EPOCHS * batches)
    numbers = torch.tensor([COMMENTS.index(source) if source in COMMENTS else -1 for source in table.sources])
    head.train()
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(targets)).split(BATCH):
            inputs = head.scaled(table.vectors[rows])
            logits = head.network(inputs) + conventions(inputs, numbers[rows])
            losses = F.binary_cross_entropy_with_logits(logits, targets[rows], reduction="none")
            loss = (losses * weights[rows]).sum() / len(rows)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(head.parameters(), 5.0)
            optimizer.step()
            schedule.step()
    return head.eval()
