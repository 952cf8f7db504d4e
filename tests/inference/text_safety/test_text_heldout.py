"""The embedded head on what it has not learned from: bounds a little below what it reached, so a regression shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from aircheck.inference.text_safety.embedded import EmbeddedTextClassifier
from aircheck.inference.text_safety.service import classify, window_scores
from aircheck_client.schema import Segment
from training.text_safety.evaluate import Score, cells, groups, macro, own_held_out, recall_at


@pytest.fixture(scope="module")
def score(embedded: EmbeddedTextClassifier) -> Score:
    def scored(windows: Sequence[Sequence[str]]) -> np.ndarray:
        findings = classify(embedded, [[segment(text) for text in window] for window in windows])
        return np.stack([window_scores(item) for item in findings])

    return scored


def segment(text: str) -> Segment:
    return Segment(start_s=0, end_s=0, text=text, avg_logprob=0, no_speech_prob=0, compression_ratio=1)


@pytest.fixture(scope="module")
def held_out(score: Score) -> dict[str, Any]:
    return own_held_out(score)


def test_harm_is_ranked_above_the_rest(held_out: dict[str, Any]) -> None:
    assert macro(held_out["cells"], "auc") >= 0.95
    assert macro(held_out["cells"], "recall_at_5pct") >= 0.80


def test_hard_negatives_and_plain_talk_are_seldom_flagged(held_out: dict[str, Any]) -> None:
    assert held_out["flagged"]["hard_negative"] <= 0.03
    assert held_out["flagged"]["benign"] == 0


def test_harmless_sentences_about_people_are_seldom_flagged(score: Score) -> None:
    bounds = {"neutral": 0.0, "positive": 0.0, "negated": 0.25}
    for sort, kinds in groups(score).items():
        for kind, (_, highest, _, _) in kinds.items():
            assert highest <= bounds.get(sort, 1.0), (sort, kind)


def test_recall_counts_what_lies_above_the_share_of_false_alarms() -> None:
    harmless = np.arange(100) / 100
    assert recall_at(np.array([0.97, 0.93, 0.2]), harmless, 0.05) == pytest.approx(1 / 3)


def test_cells_need_enough_lines_of_both_kinds() -> None:
    assert cells([], np.zeros((0, 11))) == {}
