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
from aircheck.inference.acoustic_safety.spans import SpanRule, find_spans, without_rivals
from aircheck.inference.device import bf16_products
from aircheck_client.schema import AcousticFindings

WEIGHTS_PATH = Path(__file__).parents[3] / "model_repository" / "acoustic_safety" / "1" / "network.safetensors"

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
# A bang is a shot or a blast, seldom both at once: of two that begin together, the likelier stays.
RIVALS = (("gunshot", "explosion"),)
RIVALS_WITHIN_S = 0.5


def span_rules(metadata: Mapping[str, str]) -> dict[str, SpanRule]:
    """Each event's rule: onset and offset levels and least length were chosen by the recipe and came with the weights.

    Raises `ValueError` when the metadata lacks one or it is not a rule.
    """
    stored = json.loads(metadata.get("span_rules", "{}"))
    if not isinstance(stored, dict) or set(stored) != set(EVENTS):
        raise ValueError(f"has span rules for {sorted(stored)}, not for {sorted(EVENTS)}")
    rules = {}
    for event, values in stored.items():
        offset, least_s = float(values["offset"]), float(values["least_s"])
        if not (0.0 < offset <= 0.5 and 0.0 <= least_s <= 5.0):
            raise ValueError(f"has the span rule {values} for {event}; offset is in 0..0.5, least_s in 0..5 s")
        rules[event] = SpanRule(offset=offset, merge_gap_s=MERGE_GAPS_S[event], least_s=least_s)
    return rules


class EmbeddedAcousticClassifier:
    """`AcousticNetwork` with its thresholds folded into its biases: 0.5 is every event's decision point."""

    name = "aircheck-acoustic"
    events: tuple[str, ...] = EVENTS

    def __init__(
        self, network: AcousticNetwork, rules: Mapping[str, SpanRule], version: str, device: torch.device
    ) -> None:
        self.version = version
        self.rules = rules
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
        try:
            rules = span_rules(metadata)
        except (KeyError, TypeError, ValueError) as error:
            raise WeightsError(f"{path}: {error}; train it again") from error
        return cls(network, rules, metadata.get("version", "unknown"), device)

    @torch.inference_mode()
    def probabilities(self, waveforms: NDArray[np.float32]) -> NDArray[np.float32]:
        """Per-frame probabilities, shape = (batch, samples // 1280, events)."""
        batch = torch.from_numpy(np.ascontiguousarray(waveforms, dtype=np.float32)).to(self._device)
        # a CPU takes as long for windows together as for one after the other, but sums in another order
        parts = batch.split(1 if self._device.type == "cpu" else max(1, len(batch)))
        return np.concatenate([self._probabilities(part) for part in parts])

    def _probabilities(self, batch: torch.Tensor) -> NDArray[np.float32]:
        power = self._network.front_end(batch)  # spans many decades: in fp32
        with bf16_products(self._device):
            logits = self._network.classify(power)
        return np.asarray(torch.sigmoid(logits.float()).cpu().numpy())

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
            spans = find_spans(valid, self.events, FRAME_S, duration_s, self.rules)
            for rivals in RIVALS:
                spans = without_rivals(spans, rivals, RIVALS_WITHIN_S)
            findings.append(AcousticFindings(model=self.name, model_version=self.version, spans=spans))
        return Detections(scores, tuple(findings))

    def detect(self, waveforms: NDArray[np.float32], durations_s: Sequence[float]) -> list[AcousticFindings]:
        return list(self.classify(waveforms, durations_s).findings)
