"""Any transformers audio-classification checkpoint as an acoustic classifier, slid over the window."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification, PreTrainedModel

from aircheck.inference import transformers_checkpoint
from aircheck.inference.acoustic_safety.classifier import SAMPLE_RATE
from aircheck.inference.acoustic_safety.errors import LabelMapError, WeightsError
from aircheck.inference.acoustic_safety.label_map import LabelMap
from aircheck.inference.acoustic_safety.sliding import SlidingClassifier
from aircheck.inference.transformers_checkpoint import UnusableError

FORWARD_ROWS = 32  # sliding windows in one pass; bounds memory


class FeatureExtractor(Protocol):
    """What transformers' audio feature extractors share."""

    sampling_rate: int

    def __call__(
        self, raw_speech: list[NDArray[np.float32]], *, sampling_rate: int, return_tensors: str, padding: bool
    ) -> Mapping[str, torch.Tensor]: ...


class CheckpointAcousticClassifier(SlidingClassifier):
    """A transformers checkpoint behind a `LabelMap`."""

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
        super().__init__(
            Path(name).name if Path(name).is_dir() else name,
            transformers_checkpoint.version(model, name),
            {int(key): str(value) for key, value in (model.config.id2label or {}).items()},
            labels,
            name,
        )
        self._model = model.eval().to(device)
        self._extractor = extractor
        self._device = device
        self._try(
            name,
            "check that preprocessor_config.json, config.json and the weights belong together, and that window_s of "
            "the label map is long enough",
        )

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

    @torch.inference_mode()
    def _label_scores(self, clips: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        rows = []
        for first in range(0, len(clips), FORWARD_ROWS):
            batch = clips[first : first + FORWARD_ROWS]
            inputs = self._extractor(batch, sampling_rate=SAMPLE_RATE, return_tensors="pt", padding=True)
            logits = self._model(**{key: value.to(self._device) for key, value in inputs.items()}).logits.float()
            rows.append((logits.sigmoid() if self._labels.activation == "sigmoid" else logits.softmax(-1)).cpu())
        return np.asarray(torch.cat(rows).numpy())


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
