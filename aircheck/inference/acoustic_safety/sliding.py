"""A foreign classifier that hears a clip as a whole, slid over a window; its labels become ours by a `LabelMap`.

Each position of the grid (`hop_s` of the label map) takes the mean of the windows (`window_s`) that cover it.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aircheck.inference import transformers_checkpoint
from aircheck.inference.acoustic_safety.classifier import SAMPLE_RATE, Detections, check_windows
from aircheck.inference.acoustic_safety.errors import WeightsError
from aircheck.inference.acoustic_safety.events import EVENTS, SAFETY_EVENTS
from aircheck.inference.acoustic_safety.label_map import LabelMap
from aircheck.inference.acoustic_safety.spans import SpanRule, find_spans
from aircheck.inference.transformers_checkpoint import UnusableError
from aircheck_client.schema import AcousticFindings

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Slices:
    """Where the sliding windows of one clip lie on its grid of `hop_s` cells."""

    starts: NDArray[np.int64]  # samples
    cells: int

    @classmethod
    def of(cls, duration_s: float, labels: LabelMap) -> _Slices:
        hop = round(labels.hop_s * SAMPLE_RATE)
        samples = round(duration_s * SAMPLE_RATE)
        window = round(labels.window_s * SAMPLE_RATE)
        count = 1 + max(0, -(-(samples - window) // hop)) if samples else 0
        return cls(np.arange(count) * hop, -(-samples // hop))


class SlidingClassifier(ABC):
    """`names` are what the label map maps: events, and categories that a voice classifier hears; others score 0."""

    def __init__(self, name: str, version: str, id2label: Mapping[int, str], labels: LabelMap, checkpoint: str) -> None:
        """Raises `LabelMapError` when the labels do not fit."""
        self.name, self.version = name, version
        self._labels = labels
        self._columns = labels.columns(id2label, checkpoint)
        self.names = tuple(self._columns)
        self.events = tuple(name for name in self.names if name in EVENTS)
        rule = SpanRule(onset=labels.onset, offset=labels.offset, merge_gap_s=labels.hop_s / 2)
        self._rules = dict.fromkeys(self.names, rule)

    @abstractmethod
    def _label_scores(self, clips: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        """The checkpoint's probabilities of clips of `window_s`, [clips, labels]"""

    def _try(self, checkpoint: str, remedy: str) -> None:
        """Raises `WeightsError` when the checkpoint cannot answer."""
        window_s = self._labels.window_s
        noise = np.random.default_rng(0).normal(0, 0.1, round(window_s * SAMPLE_RATE)).astype(np.float32)
        try:
            transformers_checkpoint.try_out(
                lambda: self._scores([noise]), f"classify a window of {window_s:g} s", remedy
            )
        except UnusableError as fault:
            raise WeightsError(f"acoustic_classifier={checkpoint!r}: {fault}") from fault
        if unheard := [event for event in SAFETY_EVENTS if event not in self.events]:
            _log.warning(
                "acoustic classifier '%s' never hears: %s (no label maps to them)", checkpoint, ", ".join(unheard)
            )

    def _scores(self, clips: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Our names' probabilities, [clips, names]; of several labels the highest counts"""
        chances = self._label_scores(clips)
        return np.stack([chances[:, columns].max(1) for columns in self._columns.values()], axis=1)

    def classify(self, waveforms: NDArray[np.float32], durations_s: Sequence[float]) -> Detections:
        """All sliding windows of all rows go through the checkpoint together; see `AcousticClassifier`."""
        check_windows(waveforms, durations_s)
        window = round(self._labels.window_s * SAMPLE_RATE)
        plans = [_Slices.of(duration_s, self._labels) for duration_s in durations_s]
        clips: list[NDArray[np.float32]] = []
        for waveform, duration_s, plan in zip(waveforms, durations_s, plans, strict=True):
            audible = np.where(np.arange(len(waveform)) < round(duration_s * SAMPLE_RATE), waveform, np.float32(0.0))
            padded = np.pad(audible, (0, window))  # the last sliding window may reach past the end
            clips += [padded[start : start + window] for start in plan.starts]
        chances = self._scores(clips) if clips else np.zeros((0, len(self.names)), dtype=np.float32)
        scores, findings, at = np.zeros((len(waveforms), len(EVENTS)), dtype=np.float32), [], 0
        columns = [EVENTS.index(event) for event in self.events]
        heard = [self.names.index(event) for event in self.events]
        for row, (duration_s, plan) in enumerate(zip(durations_s, plans, strict=True)):
            mine = chances[at : at + len(plan.starts)]
            at += len(plan.starts)
            grid = self._grid(mine, plan)
            scores[row, columns] = grid[:, heard].max(axis=0, initial=0.0)
            spans = find_spans(grid, self.names, self._labels.hop_s, duration_s, self._rules)
            findings.append(AcousticFindings(model=self.name, model_version=self.version, spans=spans))
        return Detections(scores, tuple(findings))

    def _grid(self, chances: NDArray[np.float32], plan: _Slices) -> NDArray[np.float32]:
        """Mean over the sliding windows that cover each cell of `hop_s`, shape = (cells, names)."""
        total = np.zeros((plan.cells, len(self.names)), dtype=np.float32)
        covered = np.zeros((plan.cells, 1), dtype=np.float32)
        width = max(1, round(self._labels.window_s / self._labels.hop_s))
        for index, row in enumerate(chances):
            total[index : index + width] += row
            covered[index : index + width] += 1
        return total / np.maximum(covered, 1)

    def detect(self, waveforms: NDArray[np.float32], durations_s: Sequence[float]) -> list[AcousticFindings]:
        return list(self.classify(waveforms, durations_s).findings)
