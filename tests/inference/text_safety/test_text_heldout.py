"""The embedded head on the held-out lines: floors a little below what version 1 reached, so that a regression shows."""

from __future__ import annotations

import pytest

from aircheck.inference.text_safety.embedded import EmbeddedTextClassifier
from aircheck.policy.taxonomy import Category
from training.text_safety import wild
from training.text_safety.evaluate import Figures, figures, localisation, noisy, score_lines, split_recall
from training.text_safety.lines import Line, read_test

TEST = read_test()


@pytest.fixture(scope="module")
def clean(embedded: EmbeddedTextClassifier) -> Figures:
    return figures(TEST, score_lines(embedded, TEST))


def test_harm_is_ranked_above_look_alikes(clean: Figures) -> None:
    assert clean.macro_recall_at_1_fpr >= 0.75
    for category in Category:
        assert clean.recall_at_1_fpr[category] >= 0.42, category


def test_the_review_threshold_finds_harm_and_spares_look_alikes(clean: Figures) -> None:
    assert clean.macro_recall >= 0.54
    assert clean.lookalikes <= 0.042
    assert clean.benign <= 0.02


def test_scores_are_calibrated(clean: Figures) -> None:
    assert clean.calibration_error <= 0.02


def test_recognition_errors_cost_only_so_much(embedded: EmbeddedTextClassifier) -> None:
    heard = noisy(TEST)
    result = figures(heard, score_lines(embedded, heard))
    assert result.macro_recall_at_1_fpr >= 0.61
    assert result.lookalikes <= 0.045


def test_a_calm_segment_is_not_blamed_for_its_neighbour(embedded: EmbeddedTextClassifier) -> None:
    assert localisation(embedded, TEST) <= 0.03


def test_harm_cut_over_two_segments_is_found(embedded: EmbeddedTextClassifier) -> None:
    assert split_recall(embedded, TEST, union=True) >= 0.5


def test_prose_that_nobody_wrote_for_us_is_left_alone(embedded: EmbeddedTextClassifier) -> None:
    lines = [Line((text,), "benign", "benign") for text in wild.docstring_lines()[::4]]
    highest = score_lines(embedded, lines).max(axis=1)
    assert len(lines) >= 500
    assert (highest >= 0.5).mean() <= 0.003
    assert (highest < 0.2).mean() >= 0.97
