"""Measures a text classifier on lines and talk that it has not learned from; prints the card's tables.

python -m training.text_safety.evaluate DATA_FOLDER                    # the embedded classifier
python -m training.text_safety.evaluate DATA_FOLDER --leave-one-out    # trains once for each source, without it
python -m training.text_safety.evaluate DATA_FOLDER --json FILE        # the numbers as well
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from scipy.special import expit
from sklearn.metrics import roc_auc_score
from tqdm import tqdm

from aircheck.inference.text_safety.embedded import HEAD, EmbeddedTextClassifier
from aircheck.inference.text_safety.head import MEMBERS, Cascade, Encode, load_heads
from aircheck.inference.text_safety.sentences import sentences
from aircheck.policy.taxonomy import Category
from aircheck_client.schema import Segment
from training.text_safety.calibrate import BY_WORDS, CONFIDENT, REVIEW, hours, window_logits
from training.text_safety.fit import fit
from training.text_safety.lines import DATA, read_test
from training.text_safety.sources import OWN, Example, Window, public_lines, talk
from training.text_safety.train import CACHE, LANGUAGES, TrainingData, table
from training.text_safety.vectors import EncoderVectors

FALSE_RATE = 0.05
MIN_LINES = 20
"""Harmful lines, and harmless ones, of a source in a category, below which nothing is computed."""

SCORED = [index for index, category in enumerate(Category) if category not in BY_WORDS]
LANGUAGE_CODES = {
    "arabic": "ar", "dutch": "nl", "french": "fr", "german": "de", "hindi": "hi", "italian": "it", "mandarin": "zh",
    "polish": "pl", "portuguese": "pt", "spanish": "es",
}  # fmt: skip

Score = Callable[[Sequence[Sequence[str]]], np.ndarray]
"""Windows of sentences to scores as the server gives them, float32 [windows, categories]."""


def score_with(logits: Encode) -> Score:
    """The server's pass over texts whose logits are known."""
    return lambda windows: expit(window_logits(logits, windows))


def through(heads: Cascade, vectors: EncoderVectors) -> Encode:
    """Logits of texts, of vectors that are kept."""
    return lambda texts: heads.logits(texts, vectors.use.of, vectors.e5.of)


def score_lines(score: Score, texts: Sequence[str]) -> np.ndarray:
    return score([[sentence.text for sentence in sentences([_segment(text)])] for text in texts])


def cells(examples: Sequence[Example], scores: np.ndarray) -> dict[str, dict[str, float]]:
    """By `source/category`: AUC and recall at FALSE_RATE, where a source has enough lines of both kinds."""
    found = {}
    for source in sorted({example.source for example in examples}):
        for column in SCORED:
            category = list(Category)[column]
            rows = [row for row, item in enumerate(examples) if item.source == source and category in item.labels]
            truth = np.array([examples[row].labels[category] for row in rows], dtype=bool)
            if min(truth.sum(), (~truth).sum()) >= MIN_LINES:
                own = scores[rows, column]
                found[f"{source}/{category}"] = {
                    "auc": float(roc_auc_score(truth, own)),
                    "recall_at_5pct": recall_at(own[truth], own[~truth]),
                    "harmful": int(truth.sum()),
                    "harmless": int((~truth).sum()),
                    "recall_at_review": float((own[truth] >= REVIEW).mean()),
                    "flagged_harmless": float((own[~truth] >= REVIEW).mean()),
                }
    return found


def recall_at(harmful: np.ndarray, harmless: np.ndarray, false_rate: float = FALSE_RATE) -> float:
    """Share of the harmful above the score that `false_rate` of the harmless exceed."""
    return float((harmful > np.quantile(harmless, 1 - false_rate, method="higher")).mean())


def measured(score: Score, folder: Path) -> dict[str, Any]:
    """All figures on the sets that nothing was learned from."""
    examples = public_lines(folder, "measure")
    scores = score_lines(score, [example.text for example in examples])
    figures: dict[str, Any] = {"cells": cells(examples, scores)}
    rows_of = {name: [row for row, item in enumerate(examples) if item.source.startswith(name)] for name in SOURCES}
    hate = scores[:, list(Category).index(Category.HATE)]
    figures["languages"] = {
        LANGUAGE_CODES[language]: float(
            roc_auc_score([examples[row].labels[Category.HATE] for row in rows], hate[rows])
        )
        for language in sorted({examples[row].language for row in rows_of["mhc"]})
        if (rows := [row for row in rows_of["mhc"] if examples[row].language == language])
    }
    flagged = (scores[:, SCORED] >= REVIEW).any(axis=1)
    figures["hatecheck_flagged"] = _shares(examples, flagged, rows_of["hatecheck"])
    figures["xstest_flagged"] = _shares(examples, flagged, rows_of["xstest"])
    figures["xstest_auc"] = float(
        roc_auc_score(
            [examples[row].kind.startswith("unsafe") for row in rows_of["xstest"]],
            scores[np.ix_(rows_of["xstest"], SCORED)].max(axis=1),
        )
    )
    for use in ("train", "measure"):
        figures[f"talk_{use}"] = talk_figures(score, talk(folder, "measure" if use == "measure" else "train"))
    return figures


SOURCES = ("hatecheck", "mhc", "xstest", "ailuminate_fr")


def _shares(examples: Sequence[Example], flagged: np.ndarray, rows: Sequence[int]) -> dict[str, list[float]]:
    """Share flagged and number of lines, by the first part of their kind."""
    kinds: dict[str, list[int]] = {}
    for row in rows:
        kinds.setdefault(examples[row].kind.split("|")[0], []).append(row)
    return {kind: [float(flagged[own].mean()), len(own)] for kind, own in sorted(kinds.items())}


def talk_figures(score: Score, windows: Sequence[Window]) -> dict[str, dict[str, float]]:
    """By source: windows an hour with a category at REVIEW, and at CONFIDENT."""
    scores = score([window.sentences for window in windows])
    found = {}
    for source in sorted({window.source for window in windows}):
        own = scores[np.ix_([row for row, window in enumerate(windows) if window.source == source], SCORED)]
        found[source] = {
            "hours": hours(len(own)),
            "flagged_per_hour": float((own >= REVIEW).any(axis=1).sum() / hours(len(own))),
            "confident_per_hour": float((own >= CONFIDENT).any(axis=1).sum() / hours(len(own))),
            **{
                f"flagged_{list(Category)[column]}": float((own[:, place] >= REVIEW).sum())
                for place, column in enumerate(SCORED)
            },
        }
    return found


def groups(score: Score) -> dict[str, dict[str, list[float]]]:
    """For each sort of sentence and kind of term: lowest and highest share flagged among the terms, and mean scores."""
    content = yaml.safe_load((DATA / "test" / "identity.yaml").read_text(encoding="utf-8"))
    column = list(Category).index(Category.HATE)
    found: dict[str, dict[str, list[float]]] = {}
    for sort in ("neutral", "positive", "negated", "harmful"):
        for kind, terms in content["groups"].items():
            texts = [sentence.format(group=term) for term in terms for sentence in content[sort]]
            scores = score_lines(score, texts)
            told = scores[:, column] if sort == "harmful" else scores[:, SCORED].max(axis=1)
            by_term = told.reshape(len(terms), len(content[sort]))
            flagged = (by_term >= REVIEW).mean(axis=1)
            means = by_term.mean(axis=1)
            found.setdefault(sort, {})[kind] = [
                float(value) for value in (flagged.min(), flagged.max(), means.min(), means.max())
            ]
    return found


def own_held_out(score: Score) -> dict[str, Any]:
    """On this project's held-out lines, which are of the same making as its training lines."""
    lines = read_test()
    scores = score_lines(score, [line.text for line in lines])
    examples = [
        Example(line.text, {category: category in line.labels for category in Category}, "own_test", "", line.kind)
        for line in lines
    ]
    flagged = (scores[:, SCORED] >= REVIEW).any(axis=1)
    return {
        "cells": cells(examples, scores),
        "flagged": {
            kind: float(flagged[[row for row, line in enumerate(lines) if line.kind == kind]].mean())
            for kind in ("harmful", "hard_negative", "benign")
        },
    }


def leave_one_out(data: TrainingData, encode: Encode, seed: int, folder: Path) -> dict[str, Any]:
    """Heads that were trained without one source each: the cells of that source, and what the measured sets lose.

    Of the second head alone, which then reads everything. Offsets move neither figure that is taken from a cell here,
    so the heads are not calibrated.
    """
    examples = [item for item in public_lines(folder, "measure") if not item.source.startswith("mhc")]
    found: dict[str, Any] = {"leave_one_out": {}, "adds": {}}
    for source in tqdm(["", *sorted({item.source for item in data.examples} - {OWN}), OWN], desc="leaving one out"):
        rest = data.without(source)
        head = fit(table(rest.examples, rest.windows, encode), seed, MEMBERS)
        score = score_with(lambda texts, head=head: head(encode(texts)))  # type: ignore[misc]
        measured_cells = cells(examples, score_lines(score, [item.text for item in examples]))
        found["adds"][source] = {
            "auc": macro(measured_cells, "auc"),
            "recall_at_5pct": macro(measured_cells, "recall_at_5pct"),
            "hatecheck_auc": measured_cells["hatecheck/hate"]["auc"],
        }
        left_out = [item for item in data.examples if item.source == source and source != OWN]
        found["leave_one_out"] |= cells(left_out, score_lines(score, [item.text for item in left_out]))
    return found


def cost_ms(texts: Sequence[str], batch: int) -> float:
    """CPU time of encoding and scoring a text, in ms, in batches; the first batch warms up."""
    classifier = EmbeddedTextClassifier(torch.device("cpu"))
    batches = [texts[first : first + batch] for first in range(0, len(texts), batch)]
    classifier.score(batches[0])
    began = time.process_time()
    for own in batches[1:]:
        classifier.score(own)
    return 1000 * (time.process_time() - began) / sum(map(len, batches[1:]))


def macro(found: dict[str, dict[str, float]], figure: str) -> float:
    """The mean of a figure over the cells."""
    return float(np.mean([cell[figure] for cell in found.values()]))


def _segment(text: str) -> Segment:
    return Segment(start_s=0, end_s=0, text=text, avg_logprob=0, no_speech_prob=0, compression_ratio=1)


def as_markdown(figures: dict[str, Any]) -> str:
    """The tables of the card."""

    def at_review(table: str, share: float) -> str:
        return "–" if table == "leave_one_out" else f"{share:.2f}"  # those heads are not calibrated

    parts = []
    for name in ("leave_one_out", "cells"):
        if found := figures.get(name):
            parts += [
                f"| {name.replace('_', ' ')} | harmful | harmless | AUC | recall at 5 % FPR | recall at {REVIEW} |",
                "|---|---|---|---|---|---|",
                *(
                    f"| {key} | {cell['harmful']} | {cell['harmless']} | {cell['auc']:.3f} | "
                    f"{cell['recall_at_5pct']:.2f} | {at_review(name, cell['recall_at_review'])} |"
                    for key, cell in found.items()
                ),
                f"| macro | | | {macro(found, 'auc'):.3f} | {macro(found, 'recall_at_5pct'):.2f} | "
                f"{at_review(name, macro(found, 'recall_at_review'))} |",
                "",
            ]
    if adds := figures.get("adds"):
        parts += ["| trained without | macro AUC | recall at 5 % FPR | HateCheck AUC |", "|---|---|---|---|"]
        parts += [
            f"| {source or '(nothing left out)'} | {item['auc']:.3f} | {item['recall_at_5pct']:.2f} | "
            f"{item['hatecheck_auc']:.3f} |"
            for source, item in adds.items()
        ] + [""]
    if cost := figures.get("cost_ms"):
        parts += [
            f"CPU time of a sentence of {figures['cost_words']:.0f} words on average: "
            + ", ".join(f"{ms:.1f} ms {how}" for how, ms in cost.items()),
            "",
        ]
    if languages := figures.get("languages"):
        listed = ", ".join(f"{code} {auc:.3f}" for code, auc in sorted(languages.items(), key=lambda item: -item[1]))
        parts += [f"Multilingual HateCheck, AUC: mean {np.mean(list(languages.values())):.3f}; {listed}", ""]
    for name in ("hatecheck_flagged", "xstest_flagged"):
        if found := figures.get(name):
            parts += [f"| {name} | lines | share |", "|---|---|---|"]
            parts += [f"| {kind} | {n} | {share:.1%} |" for kind, (share, n) in found.items()] + [""]
    for name in ("talk_train", "talk_measure"):
        for source, rates in figures.get(name, {}).items():
            parts.append(
                f"{source}, {rates['hours']:.1f} h of talk: {rates['flagged_per_hour']:.2f} windows flagged an hour, "
                f"{rates['confident_per_hour']:.2f} confident"
            )
    if swapped := figures.get("groups"):
        parts += ["", "| sentences | terms | flagged, lowest to highest | mean score |", "|---|---|---|---|"]
        parts += [
            f"| {sort} | {kind} | {low:.0%} to {high:.0%} | {least:.2f} to {most:.2f} |"
            for sort, kinds in swapped.items()
            for kind, (low, high, least, most) in kinds.items()
        ]
    return "\n".join(parts)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of the public sets, *.jsonl.gz")
    parser.add_argument("--head", type=Path, default=HEAD, help="the head to measure (default: %(default)s)")
    parser.add_argument("--leave-one-out", action="store_true", help="train without each source in turn, measure on it")
    parser.add_argument("--cache", type=Path, default=CACHE, help="where vectors are kept (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the training (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)

    vectors = EncoderVectors.kept_in(options.cache)
    if options.leave_one_out:
        figures: dict[str, Any] = leave_one_out(
            TrainingData.read(options.data), vectors.both, options.seed, options.data
        )
    else:
        heads, _ = load_heads(options.head)
        score = score_with(through(heads, vectors))
        figures = {**measured(score, options.data), "groups": groups(score), "own_held_out": own_held_out(score)}
        spoken = [text for window in talk(options.data, "measure") for text in window.sentences][:1024]
        figures["cost_ms"] = {"batch of 32": cost_ms(spoken, 32), "alone": cost_ms(spoken[:200], 1)}
        figures["cost_words"] = float(np.mean([len(text.split()) for text in spoken]))
        weak = [code for code in LANGUAGES if figures["languages"].get(code, 1) < 0.70]
        if weak:
            print(f"below 0.70 and yet in train.LANGUAGES: {', '.join(weak)}")
    print(as_markdown(figures))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
