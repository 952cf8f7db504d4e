"""Choosing, on validation scenes, each event's threshold and how its frames become spans."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aircheck.evaluation.events import BOTH, ONSET
from aircheck.inference.acoustic_safety.embedded import MERGE_GAPS_S
from aircheck.inference.acoustic_safety.events import EVENTS, SAFETY_EVENTS
from aircheck.inference.acoustic_safety.network import FRAME_S
from aircheck.inference.acoustic_safety.spans import SpanRule, frame_ranges
from training.acoustic_safety.metrics import Scores
from training.acoustic_safety.scenes import TrueSpan, joined

THRESHOLDS = (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
OFFSET_SHARES = (0.1, 0.2, 0.35, 0.6, 0.8)  # of the threshold: how low a span's frames may sink
LEAST_S = (0.08, 0.16, 0.24, 0.4)
LEAST_S_OF = {"siren": (0.4, 0.56, 0.8), "explosion": (0.16, 0.24, 0.4)}
CONTEXT_LEAST_S = {"speech": 0.24, "music": 0.8, "silence": 0.32}
PLATEAU = 0.005  # rules this close to the best are as good
FALSE_ALARM_COST = 3.0  # F1 points that a share of 1 of the harmless scenes with a false alarm would cost


@dataclass(frozen=True)
class Choice:
    """A threshold on the network's probability, and the rule in the probabilities that count from it as 0.5."""

    threshold: float
    offset_share: float
    least_s: float

    def rule(self) -> dict[str, float]:
        """As stored beside the weights: the offset level once the threshold is folded into the bias."""
        offset = 1 / (1 + np.exp(logit(self.threshold) - logit(self.threshold * self.offset_share)))
        return {"offset": round(float(offset), 4), "least_s": self.least_s}

    def span_rule(self, event: str) -> SpanRule:
        """The same rule for probabilities as the network gives them."""
        return SpanRule(
            onset=self.threshold,
            offset=self.threshold * self.offset_share,
            merge_gap_s=MERGE_GAPS_S[event],
            least_s=self.least_s,
        )


@dataclass(frozen=True)
class Found:
    """A reported span, s."""

    start_s: float
    end_s: float


def logit(chance: float) -> float:
    return float(np.log(chance / (1 - chance)))


def _score(
    event: str, choice: Choice, chances: np.ndarray, truth: Sequence[tuple[list[TrueSpan], list[TrueSpan], bool]]
) -> tuple[float, Scores, float]:
    """Objective, scores and share of harmless scenes with a false alarm."""
    rule, scores, alarms, harmless = choice.span_rule(event), Scores(), 0, 0
    peaks = chances.max(1)
    for row, (due, excused, quiet) in enumerate(truth):
        ranges = frame_ranges(chances[row], FRAME_S, rule) if peaks[row] >= rule.onset else []
        found = [Found(first * FRAME_S, last * FRAME_S) for first, last in ranges]
        scores.add(due, found, excused)
        harmless += quiet
        alarms += quiet and bool(found)
    rate = alarms / max(harmless, 1)
    return scores.f1(ONSET) + scores.f1(BOTH) - FALSE_ALARM_COST * rate, scores, rate


def choose_rules(
    chances: np.ndarray, truths: np.ndarray, spans: Sequence[Sequence[TrueSpan]], least_snr_db: float = 0.0
) -> dict[str, Choice]:
    """Per safety event the rule with the best span F1 and few false alarms; per context event the best frame F1.

    `chances` and `truths` have the shape (scenes, frames, events); events under `least_snr_db` are not asked for.
    """
    choices: dict[str, Choice] = {}
    for column, event in enumerate(EVENTS):
        chance = chances[..., column]
        if event not in SAFETY_EVENTS:
            choices[event] = _by_frames(event, chance, truths[..., column] > 0)
            continue
        truth = []
        for scene in spans:
            all_of_it = joined(scene, event, MERGE_GAPS_S[event])
            due = [span for span in all_of_it if span.snr_db >= least_snr_db]
            quiet = not any(span.name in SAFETY_EVENTS for span in scene)
            truth.append((due, [span for span in all_of_it if span not in due], quiet))
        candidates = itertools.product(THRESHOLDS, OFFSET_SHARES, LEAST_S_OF.get(event, LEAST_S))
        scored = [(Choice(*candidate), *_score(event, Choice(*candidate), chance, truth)) for candidate in candidates]
        highest = max(objective for _, objective, _, _ in scored)
        plateau = sorted((entry for entry in scored if entry[1] >= highest - PLATEAU), key=lambda e: e[0].threshold)
        choices[event], _, scores, rate = plateau[len(plateau) // 2]  # far from the edges, where luck decides
        print(
            f"{event:15s} F1 {scores.f1(ONSET):.3f} onset, {scores.f1(BOTH):.3f} onset and offset, "
            f"false alarms in {rate:.1%} of harmless scenes  {choices[event]}",
            flush=True,
        )
    return choices


def _by_frames(event: str, chance: np.ndarray, truth: np.ndarray) -> Choice:
    hits = np.array([(truth & (chance >= t)).sum() for t in THRESHOLDS])
    f1 = 2 * hits / np.maximum(np.array([(chance >= t).sum() for t in THRESHOLDS]) + truth.sum(), 1)
    print(f"{event:15s} frame F1 {f1.max():.3f}", flush=True)
    return Choice(THRESHOLDS[int(f1.argmax())], 0.6, CONTEXT_LEAST_S[event])
