"""Any transformers audio-classification checkpoint as an acoustic classifier.

Such a checkpoint classifies a clip as a whole, so it gets a sliding window (`window_s`, `hop_s` of the label map) and
each position of the grid takes the mean of the windows that cover it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification, PreTrainedModel

from aircheck.inference import transformers_checkpoint
from aircheck.inference.acoustic_safety.classifier import SAMPLE_RATE, Detections, check_windows
from aircheck.inference.acoustic_safety.errors import LabelMapError, WeightsError
from aircheck.inference.acoustic_safety.events import EVENTS, SAFETY_EVENTS
from aircheck.inference.acoustic_safety.label_map import LabelMap
from aircheck.inference.acoustic_safety.spans import SpanRule, find_spans
from aircheck.inference.transformers_checkpoint import UnusableError
from aircheck_client.schema import AcousticFindings

_log = logging.getLogger(__name__)

FORWARD_ROWS = 32  # sliding windows in one pass; bounds memory


class FeatureExtractor(Protocol):
    """What transformers' audio feature extractors share."""

    sampling_rate: int

    def __call__(
        self, raw_speech: list[NDArray[np.float32]], *, sampling_rate: int, return_tensors: str, padding: bool
    ) -> Mapping[str, torch.Tensor]: ...


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


class CheckpointAcousticClassifier:
    """A transformers checkpoint behind a `LabelMap`; events the map leaves out are not in `events` and score 0."""

    def __init__(
        self,
        name: str,
        model: PreTrainedModel,
        extractor: FeatureExtractor,
        labels: LabelMap,
        device: torch.device,
    ) -> None:
        """Raises `WeightsError` when the parts do not fit together, `LabelMapError` when the labels do not fit."""
        if extractor.sampling_rate != SAMPLE_RATE:
            raise WeightsError(f"{name}: listens at {extractor.sampling_rate} Hz; choose a {SAMPLE_RATE} Hz checkpoint")
        self.name = Path(name).name if Path(name).is_dir() else name
        self.version = transformers_checkpoint.version(model, name)
        self._columns = labels.columns(
            {int(key): str(value) for key, value in (model.config.id2label or {}).items()}, name
        )
        self.events = tuple(self._columns)
        self._labels = labels
        self._model = model.eval().to(device)
        self._extractor = extractor
        self._device = device
        rule = SpanRule(onset=labels.onset, offset=labels.offset, merge_gap_s=labels.hop_s / 2)
        self._rules = dict.fromkeys(self.events, rule)
        self._try(name)
        if unheard := [event for event in SAFETY_EVENTS if event not in self.events]:
            _log.warning("acoustic classifier '%s' never hears: %s (no label maps to them)", name, ", ".join(unheard))

    @classmethod
    def load(cls, name: str, label_map: Path, device: torch.device) -> CheckpointAcousticClassifier:
        """Load a path or hub name: safetensors only, no code of its own. Raises `WeightsError`, `LabelMapError`."""
        labels = LabelMap.load(label_map)
        try:
            model = transformers_checkpoint.load_model(AutoModelForAudioClassification, name)
            extractor = _extractor(name)
        except UnusableError as fault:
            raise WeightsError(
                f"acoustic_classifier={name!r}: {fault}. It must be a transformers audio classifier: a folder with "
                "config.json, preprocessor_config.json and model.safetensors, or a hub name while online"
            ) from fault
        try:
            return cls(name, model, extractor, labels, device)
        except LabelMapError as error:
            raise LabelMapError(f"{label_map}: {error}") from error

    def _try(self, name: str) -> None:
        window_s = self._labels.window_s
        noise = np.random.default_rng(0).normal(0, 0.1, round(window_s * SAMPLE_RATE)).astype(np.float32)
        remedy = (
            "check that preprocessor_config.json, config.json and the weights belong together, and that window_s of "
            "the label map is long enough"
        )
        try:
            transformers_checkpoint.try_out(
                lambda: self._scores([noise]), f"classify a window of {window_s:g} s", remedy
            )
        except UnusableError as fault:
            raise WeightsError(f"acoustic_classifier={name!r}: {fault}") from fault

    @torch.inference_mode()
    def _scores(self, clips: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Our events' probabilities of many clips of `window_s`, shape = (clips, events)."""
        rows = []
        for first in range(0, len(clips), FORWARD_ROWS):
            batch = clips[first : first + FORWARD_ROWS]
            inputs = self._extractor(batch, sampling_rate=SAMPLE_RATE, return_tensors="pt", padding=True)
            logits = self._model(**{key: value.to(self._device) for key, value in inputs.items()}).logits.float()
            chances = logits.sigmoid() if self._labels.activation == "sigmoid" else logits.softmax(-1)
            rows.append(torch.stack([chances[:, columns].amax(-1) for columns in self._columns.values()], dim=1).cpu())
        return np.asarray(torch.cat(rows).numpy())

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
        chances = self._scores(clips) if clips else np.zeros((0, len(self.events)), dtype=np.float32)
        scores, findings, at = np.zeros((len(waveforms), len(EVENTS)), dtype=np.float32), [], 0
        columns = [EVENTS.index(event) for event in self.events]
        for row, (duration_s, plan) in enumerate(zip(durations_s, plans, strict=True)):
            mine = chances[at : at + len(plan.starts)]
            at += len(plan.starts)
            grid = self._grid(mine, plan)
            scores[row, columns] = grid.max(axis=0, initial=0.0)
            spans = find_spans(grid, self.events, self._labels.hop_s, duration_s, self._rules)
            findings.append(AcousticFindings(model=self.name, model_version=self.version, spans=spans))
        return Detections(scores, tuple(findings))

    def _grid(self, chances: NDArray[np.float32], plan: _Slices) -> NDArray[np.float32]:
        """Mean over the sliding windows that cover each cell of `hop_s`, shape = (cells, events)."""
        total = np.zeros((plan.cells, len(self.events)), dtype=np.float32)
        covered = np.zeros((plan.cells, 1), dtype=np.float32)
        width = max(1, round(self._labels.window_s / self._labels.hop_s))
        for index, row in enumerate(chances):
            total[index : index + width] += row
            covered[index : index + width] += 1
        return total / np.maximum(covered, 1)

    def detect(self, waveforms: NDArray[np.float32], durations_s: Sequence[float]) -> list[AcousticFindings]:
        return list(self.classify(waveforms, durations_s).findings)


def _extractor(name: str) -> FeatureExtractor:
    """The checkpoint's feature extractor. Raises UnusableError."""
    try:
        extractor: FeatureExtractor = AutoFeatureExtractor.from_pretrained(name, trust_remote_code=False)
    except Exception as error:  # a folder that is not what it should be makes transformers raise anything
        raise UnusableError(
            f"its feature extractor cannot be loaded ({type(error).__name__}: {error}); save it beside the model as "
            "preprocessor_config.json, with feature_extractor.save_pretrained(folder)"
        ) from error
    return extractor
