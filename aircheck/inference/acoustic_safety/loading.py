"""How an acoustic classifier is chosen by name."""

from __future__ import annotations

from pathlib import Path

import torch

from aircheck.inference.acoustic_safety.classifier import AcousticClassifier
from aircheck.inference.acoustic_safety.embedded import EmbeddedAcousticClassifier
from aircheck.inference.acoustic_safety.errors import LabelMapError
from aircheck.inference.acoustic_safety.tflite import SUFFIX, TfliteAcousticClassifier

EMBEDDED = "embedded"


def load(name: str, label_map: Path | None, device: torch.device) -> AcousticClassifier:
    """The classifier called `name`: "embedded", a transformers checkpoint (path or hub name) or a `.tflite` file.

    Raises `WeightsError` when the weights cannot be had and `LabelMapError` when the label map does not fit.
    """
    if name == EMBEDDED:
        if label_map is not None:
            raise LabelMapError(
                f"the embedded acoustic classifier has its own labels; drop acoustic_labels={label_map} "
                "or choose a checkpoint with acoustic_classifier"
            )
        return EmbeddedAcousticClassifier.load(device)
    if label_map is None:
        raise LabelMapError(
            f"acoustic_classifier={name!r} needs acoustic_labels, a YAML file that maps its labels to events; "
            "server_config/labels/acoustic_audioset.yaml is an example"
        )
    if name.endswith(SUFFIX):
        return TfliteAcousticClassifier.load(Path(name), label_map)
    # transformers takes seconds to import, and the embedded classifier does not need it
    from aircheck.inference.acoustic_safety.checkpoint import CheckpointAcousticClassifier

    return CheckpointAcousticClassifier.load(name, label_map, device)
