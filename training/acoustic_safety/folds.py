"""Scores of recordings by heads that never heard their source, and thresholds chosen on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, precision_recall_curve

from aircheck.inference.acoustic_safety.embedded import spans_of
from aircheck.inference.acoustic_safety.events import SAFETY_EVENTS
from aircheck.inference.acoustic_safety.head import LEARNED
from aircheck_client.schema import EventSpan

ALL = -1  # the head that has heard every fold
# recordings an hour of ordinary audio, of held-out folds, that may raise an event. Music of games holds some explosions
# and cries itself, and without these few would be found.
MUSIC_PER_HOUR = {"explosion": 0.9, "scream": 0.9}  # others: 0
SPEECH_PER_HOUR = 0.05
MOST_LOOK_ALIKES = 0.01  # of other recordings
MARGIN = 0.2  # logits by which a threshold lies above what the budget asks


@dataclass(frozen=True)
class Scored:
    """One recording.

    Attributes:
        label, source: as in `Clip`.
        is_measured: counts in the figures of recordings.
        frames: probabilities, [frames, len(LEARNED)].
    """

    label: str
    source: str
    is_measured: bool
    duration_s: float
    frames: NDArray[np.float32]

    def highest(self, event: str) -> float:
        return float(self.frames[:, LEARNED.index(event)].max(initial=0.0))

    def spans(self) -> tuple[EventSpan, ...]:
        """Of safety events, as the server reports them."""
        return tuple(s for s in spans_of(self.frames, LEARNED, self.duration_s) if s.event in SAFETY_EVENTS)


def average_precision(recordings: Sequence[Scored], event: str) -> float:
    truth = [recording.label == event for recording in recordings]
    return float(average_precision_score(truth, [recording.highest(event) for recording in recordings]))


def false_events_per_hour(recordings: Sequence[Scored]) -> float:
    """Events reported in recordings that hold none."""
    hours = sum(recording.duration_s for recording in recordings) / 3600
    return sum(len(recording.spans()) for recording in recordings) / hours


def choose_threshold(recordings: Sequence[Scored], event: str) -> float:
    """The lowest probability that keeps to the budgets of false events."""
    lowest = 0.05
    budgets = (
        (MUSIC_PER_HOUR.get(event, 0.0), ("music",)),
        (SPEECH_PER_HOUR, ("speech", "speech_meeting")),
    )
    for per_hour, labels in budgets:
        chosen = [recording for recording in recordings if recording.label in labels]
        hours = sum(recording.duration_s for recording in chosen) / 3600
        lowest = max(lowest, _allowing([r.highest(event) for r in chosen], int(per_hour * hours)))
    others = [r.highest(event) for r in recordings if r.is_measured and r.label != event]
    lowest = max(lowest, _allowing(others, int(MOST_LOOK_ALIKES * len(others))))
    odds = np.log(lowest / (1 - lowest)) + MARGIN
    return float(1 / (1 + np.exp(-odds)))


def choose_context_threshold(probabilities: NDArray[np.float32], targets: NDArray[np.float32]) -> float:
    """The probability with the best F1 over the frames whose truth is known.

    Args:
        probabilities, targets: of one event in held-out scenes, [scenes, frames].
    """
    known = (targets == 0) | (targets == 1)
    precision, recall, thresholds = precision_recall_curve(targets[known], probabilities[known])
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-9)
    return float(np.clip(thresholds[f1[:-1].argmax()], 0.02, 0.98))


def _allowing(scores: Sequence[float], count: int) -> float:
    """A threshold that `count` of the scores pass."""
    ordered = sorted(scores, reverse=True)
    return min(ordered[count], 1 - 1e-4) if count < len(ordered) else 0.0
