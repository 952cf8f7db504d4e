"""Measures a classifier on the held-out lines: what it finds, what it flags wrongly, how far its scores can be trusted.

python -m training.text_safety.evaluate            # the embedded classifier
python -m training.text_safety.evaluate --text-classifier FOLDER --text-labels MAP.yaml
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from aircheck.inference.text_safety.classifier import TextClassifier
from aircheck.inference.text_safety.passages import Passage, passages
from aircheck.inference.text_safety.service import load
from aircheck.policy.taxonomy import Category
from training.text_safety import wild
from training.text_safety.asr_noise import Recogniser
from training.text_safety.examples import unsaid
from training.text_safety.lines import Line, read_test, read_train

REVIEW = 0.5  # the proposed threshold for a person's look
WORD_ERRORS = 0.17  # share of words that the simulated recogniser gets wrong
SEED = 2


@dataclass(frozen=True)
class Figures:
    """Results on one version of the held-out lines. Rates are shares in [0, 1].

    `recall_at_1_fpr`: per category, the share of its harmful lines above the score that 1 % of all look-alikes and
    benign lines exceed. `recall`: the share of harmful lines at or above REVIEW in their own category. `lookalikes`,
    `benign`: shares of such lines with any category at or above REVIEW. `calibration_error`: expected calibration
    error over ten equal bins of all scores whose truth is known.
    """

    recall_at_1_fpr: dict[Category, float]
    recall: dict[Category, float]
    lookalikes: float
    benign: float
    calibration_error: float

    @property
    def macro_recall_at_1_fpr(self) -> float:
        return float(np.mean(list(self.recall_at_1_fpr.values())))

    @property
    def macro_recall(self) -> float:
        return float(np.mean(list(self.recall.values())))


def noisy(lines: Sequence[Line], seed: int = SEED) -> list[Line]:
    """The lines as the simulated recogniser hears them."""
    vocabulary = {word for line in read_train() for word in line.text.split()}
    recogniser, rng = Recogniser(vocabulary), random.Random(seed)
    return [
        Line(
            tuple(recogniser.hear(part, WORD_ERRORS, rng) for part in line.parts),
            line.kind,
            line.category,
            line.labels,
        )
        for line in lines
    ]


def score_lines(classifier: TextClassifier, lines: Sequence[Line]) -> np.ndarray:
    """Scores of each line, [lines, categories]: the highest over its segments, as a window of its own."""
    batch: list[Passage] = []
    owner: list[int] = []
    for index, line in enumerate(lines):
        batch += passages(line.parts)
        owner += [index] * len(line.parts)
    scores = np.zeros((len(lines), len(Category)), dtype=np.float32)
    np.maximum.at(scores, owner, classifier.score(batch))
    return scores


def figures(lines: Sequence[Line], scores: np.ndarray) -> Figures:
    """The figures of `scores` [lines, categories] against the lines' labels."""
    clean = np.array([line.kind != "harmful" for line in lines])
    at_1_fpr, at_review = {}, {}
    for column, category in enumerate(Category):
        harmful = scores[[category in line.labels for line in lines], column]
        at_1_fpr[category] = float((harmful > np.quantile(scores[clean, column], 0.99)).mean())
        at_review[category] = float((harmful >= REVIEW).mean())
    return Figures(
        at_1_fpr,
        at_review,
        _flagged(lines, scores, "lookalike"),
        _flagged(lines, scores, "benign"),
        _ece(lines, scores),
    )


def _flagged(lines: Sequence[Line], scores: np.ndarray, kind: str) -> float:
    return float((scores[[line.kind == kind for line in lines]].max(axis=1) >= REVIEW).mean())


def _ece(lines: Sequence[Line], scores: np.ndarray) -> float:
    truth = np.array([[category in line.labels for category in Category] for line in lines])
    known = np.array([[category not in unsaid(line.labels) for category in Category] for line in lines])
    score, true = scores[known], truth[known]
    bins = np.minimum((score * 10).astype(int), 9)
    gaps = [abs(score[bins == b].mean() - true[bins == b].mean()) * (bins == b).mean() for b in set(bins.tolist())]
    return float(sum(gaps))


def localisation(classifier: TextClassifier, lines: Sequence[Line], seed: int = SEED) -> float:
    """Share of benign and look-alike segments at or above REVIEW only because a harmful segment stands beside them."""
    rng = random.Random(seed)
    harmful = [line.text for line in lines if line.kind == "harmful"]
    calm = [line.text for line in lines if line.kind != "harmful" and len(line.parts) == 1]
    windows = [(rng.choice(harmful), text, rng.choice(calm)) for text in calm]
    beside = classifier.score([passages(window)[1] for window in windows]).max(axis=1)
    alone = classifier.score([passages([text])[0] for text in calm]).max(axis=1)
    return float(((beside >= REVIEW) & (alone < REVIEW)).mean())


def split_recall(classifier: TextClassifier, lines: Sequence[Line], union: bool) -> float:
    """Share of harmful lines cut over two segments that reach REVIEW on both halves, or (`union`) on either."""
    found = []
    for line in lines:
        if line.kind == "harmful" and len(line.parts) == 2:
            columns = [list(Category).index(label) for label in line.labels]
            halves = (classifier.score(passages(line.parts))[:, columns] >= REVIEW).any(axis=1)
            found.append(halves.any() if union else halves.all())
    return float(np.mean(found))


def report(classifier: TextClassifier) -> str:
    """Every figure, as a Markdown text."""
    test = read_test()
    clean = figures(test, score_lines(classifier, test))
    heard = noisy(test)
    asr = figures(heard, score_lines(classifier, heard))
    prose = [Line((text,), "benign", "benign") for text in wild.docstring_lines()]
    wild_scores = score_lines(classifier, prose).max(axis=1)
    rows = [
        f"| {category.value} | {clean.recall_at_1_fpr[category]:.2f} | {asr.recall_at_1_fpr[category]:.2f} "
        f"| {clean.recall[category]:.2f} | {asr.recall[category]:.2f} |"
        for category in Category
    ]
    totals = [
        f"| macro | {clean.macro_recall_at_1_fpr:.3f} | {asr.macro_recall_at_1_fpr:.3f} "
        f"| {clean.macro_recall:.3f} | {asr.macro_recall:.3f} |"
    ]
    facts = [
        f"Look-alikes at or above {REVIEW}: {clean.lookalikes:.3f} clean, {asr.lookalikes:.3f} ASR. "
        f"Benign lines: {clean.benign:.3f}, {asr.benign:.3f}.",
        f"Expected calibration error: {clean.calibration_error:.4f} clean, {asr.calibration_error:.4f} ASR.",
        f"Harm split over two segments: found on both {split_recall(classifier, test, union=False):.2f}, "
        f"on either {split_recall(classifier, test, union=True):.2f}.",
        f"Calm segments flagged because of a harmful neighbour: {localisation(classifier, test):.3f}.",
        f"{len(prose)} lines of standard-library docstrings: {(wild_scores >= REVIEW).mean():.4f} at or above "
        f"{REVIEW}, "
        f"{(wild_scores < 0.2).mean():.4f} below 0.2.",
    ]
    head = [
        f"{classifier.name} {classifier.version}: {len(test)} held-out lines",
        "",
        "| category | recall at 1 % FPR, clean | ASR | recall at 0.5, clean | ASR |",
        "|---|---|---|---|---|",
    ]
    return "\n".join([*head, *rows, *totals, "", *facts])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text-classifier", default="embedded", help="'embedded', or a transformers checkpoint")
    parser.add_argument("--text-labels", type=Path, help="label map of the checkpoint")
    options = parser.parse_args(arguments)
    print(report(load(options.text_classifier, options.text_labels, torch.device("cpu"))))


if __name__ == "__main__":
    main()
