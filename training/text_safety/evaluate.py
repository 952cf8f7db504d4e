"""Measures a classifier on the held-out lines: what it finds, what it flags wrongly, how far its scores can be trusted.

python -m training.text_safety.evaluate            # the embedded classifier
python -m training.text_safety.evaluate --json FILE
python -m training.text_safety.evaluate --text-classifier FOLDER --text-labels MAP.yaml

Everything is measured twice: on the lines as written, and on what Whisper heard when they were spoken
(data/transcripts/test.json).
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import jiwer
import numpy as np
import torch

from aircheck.inference.text_safety.classifier import TextClassifier
from aircheck.inference.text_safety.passages import Passage, passages
from aircheck.inference.text_safety.service import load
from aircheck.policy.taxonomy import Category
from training.text_safety import transcripts, wild
from training.text_safety.examples import unsaid
from training.text_safety.identity import Swap, swaps
from training.text_safety.lines import Line, read_test

REVIEW = 0.5  # the proposed threshold for a person's look
CALM = 0.2  # a score that says nothing is there
FALSE_RATE = 0.01  # share of calm lines that may exceed a category's strict threshold
SEED = 2


@dataclass(frozen=True)
class CategoryFigures:
    """How one category is found. Its calm lines are all hard negatives and plain talk, of whatever file."""

    recall_at_1_fpr: float  # share of its harmful lines above the score that 1 % of the calm lines exceed
    score_at_1_fpr: float  # that score
    recall_at_review: float  # share of its harmful lines at or above REVIEW
    average_precision: float  # against the calm lines


@dataclass(frozen=True)
class Figures:
    """Results on one version of the held-out lines. Rates are shares in [0, 1].

    `hard_negatives`, `benign`: shares of such lines with any category at or above REVIEW. `calibration_error`: expected
    calibration error over ten equal bins of all scores whose truth is known.
    """

    lines: int
    categories: dict[Category, CategoryFigures]
    hard_negatives: float
    benign: float
    calibration_error: float

    @property
    def macro_recall_at_1_fpr(self) -> float:
        return float(np.mean([item.recall_at_1_fpr for item in self.categories.values()]))

    @property
    def macro_recall(self) -> float:
        return float(np.mean([item.recall_at_review for item in self.categories.values()]))

    @property
    def macro_average_precision(self) -> float:
        return float(np.mean([item.average_precision for item in self.categories.values()]))


@dataclass(frozen=True)
class Report:
    """All that is measured of one classifier."""

    classifier: str
    whisper: str  # the checkpoint that wrote the transcripts, and its version
    word_error_rate: float  # of the transcripts
    clean: Figures
    heard: Figures
    split_on_both: float  # share of harmful passages cut in two that are found on both halves
    split_on_either: float
    blamed_for_neighbour: float  # share of calm segments flagged only because of a harmful neighbour
    prose_lines: int
    prose_flagged: float  # share of prose that nobody wrote for us at or above REVIEW
    prose_calm: float  # share of it below CALM
    identity: list[Swap]


def heard(lines: Sequence[Line]) -> list[Line]:
    """The lines as Whisper heard them; a line of which it heard nothing has no parts."""
    known = transcripts.read(transcripts.TEST)
    return [known.heard(line) for line in lines]


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
    calm = np.array([line.kind != "harmful" for line in lines])
    return Figures(
        len(lines),
        {
            category: _category(scores[[category in line.labels for line in lines], column], scores[calm, column])
            for column, category in enumerate(Category)
        },
        _flagged(lines, scores, "hard_negative"),
        _flagged(lines, scores, "benign"),
        _ece(lines, scores),
    )


def _category(harmful: np.ndarray, calm: np.ndarray) -> CategoryFigures:
    threshold = float(np.quantile(calm, 1 - FALSE_RATE))
    return CategoryFigures(
        float((harmful > threshold).mean()),
        threshold,
        float((harmful >= REVIEW).mean()),
        average_precision(harmful, calm),
    )


def average_precision(positive: np.ndarray, negative: np.ndarray) -> float:
    """Mean, over the positives, of the precision at each one's score; equal scores count together."""
    above = np.array([(positive >= score).sum() for score in positive])
    false = np.array([(negative >= score).sum() for score in positive])
    return float((above / (above + false)).mean())


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
    """Share of segments without harm at or above REVIEW only because a harmful segment stands beside them."""
    rng = random.Random(seed)
    harmful = [line.text for line in lines if line.kind == "harmful"]
    calm = [line.text for line in lines if line.kind != "harmful" and len(line.parts) == 1]
    windows = [(rng.choice(harmful), text, rng.choice(calm)) for text in calm]
    beside = classifier.score([passages(window)[1] for window in windows]).max(axis=1)
    alone = classifier.score([passages([text])[0] for text in calm]).max(axis=1)
    return float(((beside >= REVIEW) & (alone < REVIEW)).mean())


def split_recall(classifier: TextClassifier, lines: Sequence[Line]) -> tuple[float, float]:
    """Shares of harmful lines cut over two segments that reach REVIEW on both halves, and on at least one."""
    cut = [line for line in lines if line.kind == "harmful" and len(line.parts) == 2]
    scores = classifier.score([passage for line in cut for passage in passages(line.parts)]).reshape(len(cut), 2, -1)
    found = []
    for line, halves in zip(cut, scores, strict=True):
        columns = [list(Category).index(label) for label in line.labels]
        reached = (halves[:, columns] >= REVIEW).any(axis=1)
        found.append((reached.all(), reached.any()))
    both, either = np.mean(found, axis=0)
    return float(both), float(either)


def word_error_rate(lines: Sequence[Line], transcribed: Sequence[Line]) -> float:
    """Insertions, deletions and substitutions over the words said."""
    return float(jiwer.wer([line.text for line in lines], [other.text for other in transcribed]))


def measure(classifier: TextClassifier, prose_step: int = 1) -> Report:
    """All figures; of the prose, every `prose_step`-th sentence."""
    test = read_test()
    spoken, known = heard(test), transcripts.read(transcripts.TEST)
    prose = [Line((text,), "benign", "benign") for text in wild.docstring_lines()[::prose_step]]
    prose_scores = score_lines(classifier, prose).max(axis=1)
    split_on_both, split_on_either = split_recall(classifier, test)
    return Report(
        f"{classifier.name} {classifier.version}",
        f"{known.whisper} {known.whisper_version}",
        word_error_rate(test, spoken),
        figures(test, score_lines(classifier, test)),
        figures(spoken, score_lines(classifier, spoken)),
        split_on_both,
        split_on_either,
        localisation(classifier, test),
        len(prose),
        float((prose_scores >= REVIEW).mean()),
        float((prose_scores < CALM).mean()),
        swaps(classifier, REVIEW),
    )


def as_markdown(report: Report) -> str:
    clean, said = report.clean, report.heard
    rows = [
        f"| {category.value} | {a.recall_at_1_fpr:.2f} | {b.recall_at_1_fpr:.2f} | {a.recall_at_review:.2f} "
        f"| {b.recall_at_review:.2f} | {a.average_precision:.2f} | {b.average_precision:.2f} |"
        for category, a, b in ((item, clean.categories[item], said.categories[item]) for item in Category)
    ]
    rows.append(
        f"| macro | {clean.macro_recall_at_1_fpr:.3f} | {said.macro_recall_at_1_fpr:.3f} | {clean.macro_recall:.3f} "
        f"| {said.macro_recall:.3f} | {clean.macro_average_precision:.3f} | {said.macro_average_precision:.3f} |"
    )
    identity = [
        f"| {swap.kind} | {swap.sort} | {min(swap.score_of.values()):.2f} to {max(swap.score_of.values()):.2f} "
        f"| {swap.gap:.2f} ({min(swap.score_of, key=swap.score_of.__getitem__)}, "
        f"{max(swap.score_of, key=swap.score_of.__getitem__)}) | {swap.flagged:.1%} |"
        for swap in report.identity
    ]
    return "\n".join(
        [
            f"{report.classifier}: {clean.lines} held-out lines, clean and as Whisper ({report.whisper}) heard "
            f"them, word error rate {report.word_error_rate:.1%}",
            "",
            "| category | recall at 1 % FPR, clean | heard | recall at 0.5, clean | heard | AP, clean | heard |",
            "|---|---|---|---|---|---|---|",
            *rows,
            "",
            "| what | clean | heard |",
            "|---|---|---|",
            f"| hard negatives at or above {REVIEW} in any category "
            f"| {clean.hard_negatives:.1%} | {said.hard_negatives:.1%} |",
            f"| plain talk at or above {REVIEW} | {clean.benign:.1%} | {said.benign:.1%} |",
            f"| expected calibration error | {clean.calibration_error:.4f} | {said.calibration_error:.4f} |",
            "",
            f"- Harm cut over two segments: found on both halves {report.split_on_both:.0%}, "
            f"on at least one {report.split_on_either:.0%}.",
            f"- Calm segments flagged because of a harmful neighbour: {report.blamed_for_neighbour:.1%}.",
            f"- Plain prose, {report.prose_lines} sentences of standard-library docstrings: "
            f"{report.prose_flagged:.2%} at or above {REVIEW}.",
            "",
            "| terms swapped | in sentences | mean score from, to | gap (lowest, highest) | at or above 0.5 |",
            "|---|---|---|---|---|",
            *identity,
        ]
    )


def as_json(report: Report) -> str:
    content = asdict(report)
    for name, result in (("clean", report.clean), ("heard", report.heard)):
        content[name]["macro_recall_at_1_fpr"] = result.macro_recall_at_1_fpr
        content[name]["macro_recall_at_review"] = result.macro_recall
        content[name]["macro_average_precision"] = result.macro_average_precision
    for item, swap in zip(content["identity"], report.identity, strict=True):
        item["gap"] = swap.gap
    return json.dumps(content, indent=2) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text-classifier", default="embedded", help="'embedded', or a transformers checkpoint")
    parser.add_argument("--text-labels", type=Path, help="label map of the checkpoint")
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: %(default)s)")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    report = measure(load(options.text_classifier, options.text_labels, torch.device("cpu")))
    print(as_markdown(report))
    if options.json is not None:
        options.json.write_text(as_json(report), encoding="utf-8")


if __name__ == "__main__":
    main()
