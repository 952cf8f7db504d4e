"""Thresholds and span rules are chosen by what they find and by what they falsely report."""

from __future__ import annotations

import json

import numpy as np
import pytest

from aircheck.inference.acoustic_safety.embedded import span_rules
from aircheck.inference.acoustic_safety.events import EVENTS
from aircheck.inference.acoustic_safety.network import FRAME_S
from training.acoustic_safety.rules import Choice, choose_rules, logit
from training.acoustic_safety.scenes import TrueSpan

FRAMES, EVENT_LEVEL, NOISE_LEVEL = 128, 0.6, 0.42
GUNSHOT = EVENTS.index("gunshot")


def scenes(count: int) -> tuple[np.ndarray, np.ndarray, list[list[TrueSpan]]]:
    """Every second scene has a gunshot of half a second at probability 0.6; all have a bump of 0.42 that is none."""
    chances = np.full((count, FRAMES, len(EVENTS)), 0.02)
    truths = np.zeros((count, FRAMES, len(EVENTS)))
    spans: list[list[TrueSpan]] = []
    for row in range(count):
        chances[row, 100:106, GUNSHOT] = NOISE_LEVEL
        spans.append([])
        if row % 2:
            chances[row, 30:36, GUNSHOT] = EVENT_LEVEL
            truths[row, 30:36, GUNSHOT] = 1
            spans[-1].append(TrueSpan("gunshot", 30 * FRAME_S, 36 * FRAME_S, 10.0))
    return chances, truths, spans


def test_the_threshold_lies_between_the_bumps_and_the_event() -> None:
    choice = choose_rules(*scenes(20))["gunshot"]
    assert NOISE_LEVEL < choice.threshold <= EVENT_LEVEL


def test_events_below_the_level_asked_for_decide_nothing() -> None:
    chances, truths, spans = scenes(20)
    faint = [[TrueSpan("gunshot", 0.0, 1.0, -5.0)] if row % 2 == 0 else scene for row, scene in enumerate(spans)]
    assert choose_rules(chances, truths, faint)["gunshot"].threshold > NOISE_LEVEL


def test_a_rule_finds_the_same_spans_once_its_threshold_is_folded_into_the_bias() -> None:
    choice = Choice(threshold=0.35, offset_share=0.6, least_s=0.16)
    chances = np.random.default_rng(0).beta(0.5, 0.8, 400)
    folded = 1 / (1 + np.exp(-(np.log(chances / (1 - chances)) - logit(choice.threshold))))
    offset = choice.rule()["offset"]
    assert np.array_equal(chances >= choice.threshold, folded >= 0.5)
    assert np.mean((chances >= choice.threshold * choice.offset_share) == (folded >= offset)) > 0.99


def test_stored_rules_are_read_back_and_broken_ones_refused() -> None:
    stored = {event: Choice(0.5, 0.6, 0.16).rule() for event in EVENTS}
    rules = span_rules({"span_rules": json.dumps(stored)})
    assert set(rules) == set(EVENTS)
    assert rules["gunshot"].least_s == 0.16
    assert rules["gunshot"].onset == 0.5
    with pytest.raises(ValueError, match="span rules"):
        span_rules({})
    with pytest.raises(ValueError, match="siren"):
        span_rules({"span_rules": json.dumps({**stored, "siren": {"offset": 0.9, "least_s": 0.1}})})
