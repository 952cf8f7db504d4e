"""The classifier whose weights this repository carries, trained on synthetic sounds by `training/acoustic_safety`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from aircheck.inference.acoustic_safety.classifier import Detections, check_windows, silence_after
from aircheck.inference.acoustic_safety.errors import WeightsError
from aircheck.inference.acoustic_safety.events import EVENTS
from aircheck.inference.acoustic_safety.network import FRAME_S, AcousticNetwork, frames_in
from aircheck.inference.acoustic_safety.spans import SpanRule, find_spans
from aircheck_client.schema import AcousticFindings

WEIGHTS_PATH = Path(__file__).parents[3] / "model_repository" / "acoustic_safety" / "1" / "network.safetensors"

# Impulses are short; talk, music and silence have pauses that are still talk, music and silence.
SPAN_RULES: Mapping[str, SpanRule] = {
    "gunshot": SpanRule(offset=0.3, merge_gap_s=0.4, least_s=0.08),
    "explosion": SpanRule(offset=0.3, merge_gap_s=0.5, least_s=0.24),
    "scream": SpanRule(offset=0.3, merge_gap_s=0.4, least_s=0.16),
    "siren": SpanRule(offset=0.3, merge_gap_s=0.6, least_s=0.48),
    "glass_breaking": SpanRule(offset=0.3, merge_gap_s=0.4, least_s=0.16),
    "speech": SpanRule(offset=0.35, merge_gap_s=0.5, least_s=0.24),
    "music": SpanRule(offset=0.35, merge_gap_s=1.2, least_s=0.8),
    "silence": SpanRule(offset=0.4, merge_gap_s=0.16, least_s=0.32),
}


class EmbeddedAcousticClassifier:
    """`AcousticNetwork` with its thresholds folded into its biases: 0.5 is every event's decision point."""

    name = "aircheck-acoustic"
    events: tuple[str, ...] = EVENTS

    def __init__(self, network: AcousticNetwork, version: str, device: torch.device) -> None:
        self.version = version
        self._device = device
        self._network = network.eval().to(device)

    @classmethod
    def load(cls, device: torch.device, path: Path = WEIGHTS_PATH) -> EmbeddedAcousticClassifier:
        """Raises `WeightsError` when the file is missing, is no safetensors file or belongs to another network."""
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                weights = {key: file.get_tensor(key).float() for key in list(file.keys())}
        except (OSError, SafetensorError) as error:
            raise WeightsError(
                f"{path}: cannot read the acoustic weights ({error}); restore the file from the repository "
                "or make it with `python -m training.acoustic_safety.train`"
            ) from error
        events = tuple(json.loads(metadata.get("events", "[]")))
        if events != EVENTS:
            raise WeightsError(f"{path}: made for the events {list(events)}, not {list(EVENTS)}; train it again")
        network = AcousticNetwork()
        try:
            network.load_state_dict(weights)
        except RuntimeError as error:
            raise WeightsError(f"{path}: does not fit the network ({error}); train it again") from error
        return cls(network, metadata.get("version", "unknown"), device)

    @torch.inference_mode()
    def probabilities(self, waveforms: NDArray[np.float32]) -> NDArray[np.float32]:
        """Per-frame probabilities, shape = (batch, samples // 1280, events)."""
        batch = torch.from_numpy(np.ascontiguousarray(waveforms, dtype=np.float32)).to(self._device)
        return np.asarray(torch.sigmoid(self._network(batch)).cpu().numpy())

    def classify(self, waveforms: NDArray[np.float32], durations_s: Sequence[float]) -> Detections:
        """One forward pass over the batch; see `AcousticClassifier`. Raises `WaveformError`."""
        check_windows(waveforms, durations_s)
        scores = np.zeros((len(waveforms), len(self.events)), dtype=np.float32)
        if len(waveforms) == 0:
            return Detections(scores, ())
        probabilities = self.probabilities(silence_after(waveforms, durations_s))
        findings = []
        for row, duration_s in enumerate(durations_s):
            valid = probabilities[row, : frames_in(duration_s)]
            scores[row] = valid.max(axis=0, initial=0.0)
            spans = find_spans(valid, self.events, FRAME_S, duration_s, SPAN_RULES)
            findings.append(AcousticFindings(model=self.name, model_version=self.version, spans=spans))
        return Detections(scores, tuple(findings))

    def detect(self, waveforms: NDArray[np.float32], durations_s: Sequence[float]) -> list[AcousticFindings]:
        return list(self.classify(waveforms, durations_s).findings)
