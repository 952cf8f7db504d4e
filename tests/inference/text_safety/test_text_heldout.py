"""The embedded head on the held-out lines: bounds a little below what it reached, so that a regression shows."""

from __future__ import annotations

import json

import numpy as np
import pytest

from aircheck.inference.text_safety.embedded import EmbeddedTextClassifier
from aircheck.policy.taxonomy import Category
from training.text_safety.evaluate import Report, as_json, as_markdown, average_precision, measure


@pytest.fixture(scope="module")
def report(embedded: EmbeddedTextClassifier) -> Report:
    return measure(embedded, prose_step=4)


def test_harm_is_ranked_above_hard_negatives(report: Report) -> None:
    assert report.clean.macro_recall_at_1_fpr >= 0.80
    for category in Category:
        assert report.clean.categories[category].recall_at_1_fpr >= 0.55, category


def test_the_review_threshold_finds_harm_and_spares_hard_negatives(report: Report) -> None:
    assert report.clean.macro_recall >= 0.44
    assert report.clean.hard_negatives <= 0.03
    assert report.clean.benign <= 0.02


def test_scores_are_calibrated(report: Report) -> None:
    assert report.clean.calibration_error <= 0.05
    assert report.heard.calibration_error <= 0.05


def test_transcripts_cost_only_so_much(report: Report) -> None:
    assert report.heard.macro_recall_at_1_fpr >= 0.40
    assert report.heard.hard_negatives <= 0.03


def test_a_calm_segment_is_not_blamed_for_its_neighbour(report: Report) -> None:
    assert report.blamed_for_neighbour <= 0.03


def test_harm_cut_over_two_segments_is_found(report: Report) -> None:
    assert report.split_on_either >= 0.5


def test_people_are_scored_alike(report: Report) -> None:
    for swap in report.identity:
        if swap.sort == "neutral":
            assert swap.flagged == 0, swap
            assert swap.gap <= 0.15, swap


def test_the_report_names_every_category_and_is_json(report: Report) -> None:
    text, content = as_markdown(report), json.loads(as_json(report))
    for category in Category:
        assert f"| {category.value} |" in text
        assert 0 <= content["heard"]["categories"][category.value]["average_precision"] <= 1


def test_average_precision_is_one_when_all_harm_is_above_and_falls_with_each_false_alarm() -> None:
    positive, negative = np.array([0.9, 0.8]), np.array([0.1, 0.85])
    assert average_precision(positive, negative[:1]) == 1
    assert average_precision(positive, negative) == pytest.approx((1 + 2 / 3) / 2)


def test_prose_from_elsewhere_is_not_flagged(report: Report) -> None:
    assert report.prose_lines >= 500
    assert report.prose_flagged <= 0.003
    assert report.prose_calm >= 0.97
