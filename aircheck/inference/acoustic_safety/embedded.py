"""The classifier whose weights this repository carries: a small head on Whisper's and YAMNet's features.

The head was trained by `training/acoustic_safety` on recordings; its README says on which, and how well it does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor

from aircheck.inference.acoustic_safety.classifier import Detections, check_windows
from aircheck.inference.acoustic_safety.errors import WeightsError
from aircheck.inference.acoustic_safety.events import EVENTS
from aircheck.inference.acoustic_safety.features import Features, WhisperFeatures
from aircheck.inference.acoustic_safety.head import LEARNED, AcousticHead
from aircheck.inference.acoustic_safety.pieces import (
    FRAME_S,
    FRAME_SAMPLES,
    PIECE_SAMPLES,
    SAMPLE_RATE,
    cut,
    frames_in,
    join,
)
from aircheck.inference.acoustic_safety.spans import SpanRule, find_spans, without_rivals
from aircheck.inference.acoustic_safety.yamnet import YamnetTrunk
from aircheck.inference.whisper.weights.checkpoint import CheckpointError
from aircheck.shipped import MODEL_REPOSITORY
from aircheck_client.schema import AcousticFindings, EventSpan

WEIGHTS_PATH = MODEL_REPOSITORY / "acoustic_safety" / "1" / "head.safetensors"

# What counts as one event, in training and in findings: shots of a burst, cries in a row and the words of a talk belong
# together when less than this lies between them, s.
MERGE_GAPS_S: Mapping[str, float] = {
    "gunshot": 1.0,
    "explosion": 1.0,
    "scream": 0.6,
    "siren": 1.0,
    "glass_breaking": 0.6,
    "speech": 0.5,
    "music": 1.2,
    "silence": 0.16,
}
# A bang is short, and the frames around it, which have heard it too, are nearly as sure.
BANGS = ("gunshot", "explosion", "glass_breaking")
BANG_EDGE = 0.75
# A bang is a shot or a blast, seldom both at once: of two that begin together, the likelier stays.
RIVALS = (("gunshot", "explosion"),)
RIVALS_WITHIN_S = 0.5
SILENCE_DBFS = -55.0  # RMS of a frame that is silence as likely as not
SILENCE_SLOPE_DB = 2.0
GPU_PIECES = 8  # pieces in every pass on a GPU: a matmul's rows may round differently in another shape


class EmbeddedAcousticClassifier:
    """`AcousticHead` with its thresholds folded into its biases: 0.5 is every event's decision point."""

    name = "aircheck-acoustic"
    events: tuple[str, ...] = EVENTS

    def __init__(self, features: Features, head: AcousticHead, version: str, device: torch.device) -> None:
        self.version = version
        self._device = device
        self._features = features.eval().requires_grad_(False).to(device)
        self._head = head.eval().requires_grad_(False).to(device)

    @classmethod
    def load(cls, device: torch.device, path: Path = WEIGHTS_PATH) -> EmbeddedAcousticClassifier:
        """Raises `WeightsError` when the file is missing or another network's, or Whisper's encoder cannot be had."""
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                weights = {key: file.get_tensor(key) for key in list(file.keys())}
        except (OSError, SafetensorError) as error:
            raise WeightsError(
                f"{path}: cannot read the acoustic weights ({error}); restore the file from the repository "
                "or make it with `python -m training.acoustic_safety.train`"
            ) from error
        events = tuple(json.loads(metadata.get("events", "[]")))
        if events != LEARNED:
            raise WeightsError(f"{path}: made for the events {list(events)}, not {list(LEARNED)}; train it again")
        head, yamnet = AcousticHead(), YamnetTrunk()
        try:
            head.load_state_dict(_part(weights, "head."))
            yamnet.load_state_dict(multiplied_out(_part(weights, "yamnet.")))
        except (KeyError, RuntimeError) as error:
            raise WeightsError(f"{path}: does not fit the network ({error}); train it again") from error
        try:
            whisper = WhisperFeatures.load()
        except CheckpointError as error:
            raise WeightsError(f"the acoustic classifier listens through Whisper's encoder: {error}") from error
        return cls(Features(whisper, yamnet), head, metadata.get("version", "unknown"), device)

    @torch.inference_mode()
    def probabilities(self, waveforms: NDArray[np.float32], durations_s: Sequence[float]) -> list[NDArray[np.float32]]:
        """Of each window, [frames_in(duration_s), len(EVENTS)]"""
        cuts = [cut(waveform, duration_s) for waveform, duration_s in zip(waveforms, durations_s, strict=True)]
        learned = self._learned(np.concatenate(cuts)) if cuts else np.zeros((0, 0, 0), np.float32)
        rows, at = [], 0
        for waveform, duration_s, pieces in zip(waveforms, durations_s, cuts, strict=True):
            mine = learned[at : at + len(pieces)]
            at += len(pieces)
            row = np.zeros((frames_in(duration_s), len(EVENTS)), np.float32)
            if len(mine):
                row[:, [EVENTS.index(event) for event in LEARNED]] = join(list(mine), duration_s)
                row[:, EVENTS.index("silence")] = silence(waveform, duration_s)
            rows.append(row)
        return rows

    def _learned(self, pieces: NDArray[np.float32]) -> NDArray[np.float32]:
        """[pieces, PIECE_SAMPLES] -> [pieces, PIECE_FRAMES, len(LEARNED)]; a piece's never depend on its neighbours"""
        size = 1 if self._device.type == "cpu" else GPU_PIECES
        outputs: list[NDArray[np.float32]] = []
        for first in range(0, len(pieces), size):
            batch = pieces[first : first + size]
            filled = np.zeros((size, PIECE_SAMPLES), np.float32)
            filled[: len(batch)] = batch
            whisper, yamnet = self._features(torch.from_numpy(filled).to(self._device))
            outputs.append(self._head(whisper, yamnet).sigmoid().cpu().numpy()[: len(batch)])
        return np.concatenate(outputs) if outputs else np.zeros((0, 0, len(LEARNED)), np.float32)

    def classify(self, waveforms: NDArray[np.float32], durations_s: Sequence[float]) -> Detections:
        """One forward pass over the batch; see `AcousticClassifier`. Raises `WaveformError`."""
        check_windows(waveforms, durations_s)
        scores = np.zeros((len(waveforms), len(self.events)), dtype=np.float32)
        findings = []
        for row, probabilities in enumerate(self.probabilities(waveforms, durations_s)):
            scores[row] = probabilities.max(axis=0, initial=0.0)
            spans = spans_of(probabilities, self.events, durations_s[row])
            findings.append(AcousticFindings(model=self.name, model_version=self.version, spans=spans))
        return Detections(scores, tuple(findings))

    def detect(self, waveforms: NDArray[np.float32], durations_s: Sequence[float]) -> list[AcousticFindings]:
        return list(self.classify(waveforms, durations_s).findings)


def spans_of(probabilities: NDArray[np.float32], events: Sequence[str], duration_s: float) -> tuple[EventSpan, ...]:
    """Spans of one window from its frames, [frames_in(duration_s), events]"""
    rules = {
        event: SpanRule(merge_gap_s=MERGE_GAPS_S[event], edge=BANG_EDGE if event in BANGS else 0.0) for event in events
    }
    spans = find_spans(probabilities, events, FRAME_S, duration_s, rules)
    for rivals in RIVALS:
        spans = without_rivals(spans, rivals, RIVALS_WITHIN_S)
    return spans


def silence(waveform: NDArray[np.float32], duration_s: float) -> NDArray[np.float32]:
    """How surely each frame is silent, by its level alone: [frames_in(duration_s)]"""
    end, frames = min(round(duration_s * SAMPLE_RATE), len(waveform)), frames_in(duration_s)
    audible = np.zeros(frames * FRAME_SAMPLES, np.float64)
    audible[:end] = waveform[:end]
    power = np.square(audible).reshape(frames, FRAME_SAMPLES).sum(1)
    lengths = np.minimum(FRAME_SAMPLES, end - np.arange(frames) * FRAME_SAMPLES)
    level_db = 10 * np.log10(power / np.maximum(lengths, 1) + 1e-12)
    return (1 / (1 + np.exp((level_db - SILENCE_DBFS) / SILENCE_SLOPE_DB))).astype(np.float32)


def multiplied_out(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """8-bit weights by their output channels' scales, in fp32. Raises `KeyError` where one has no scale."""
    scales = {key.removesuffix("_scale"): value for key, value in weights.items() if key.endswith("_scale")}
    return {
        key: value.float() if value.is_floating_point() else value.float() * scales[key].reshape(-1, 1, 1, 1)
        for key, value in weights.items()
        if not key.endswith("_scale")
    }


def _part(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    part = {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
    return {key: value.float() if value.is_floating_point() else value for key, value in part.items()}
