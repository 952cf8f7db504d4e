"""Any transformers sequence-classification checkpoint as a text classifier, by path or hub name."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from aircheck.inference.text_safety.classifier import by_length
from aircheck.inference.text_safety.errors import CheckpointError
from aircheck.inference.text_safety.labels import LabelMap, to_categories
from aircheck.inference.text_safety.passages import Passage
from aircheck.policy.taxonomy import Category

_log = logging.getLogger(__name__)


class CheckpointTextClassifier:
    """A checkpoint and its label map. Weights are read from safetensors only, and no code of a hub is ever run."""

    def __init__(self, checkpoint: str, label_map: LabelMap, device: torch.device) -> None:
        """Loads the checkpoint (a folder, or a hub name that transformers finds in its cache or downloads).

        Raises CheckpointError when it cannot be loaded, LabelMapError when the labels do not fit.
        """
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(checkpoint, trust_remote_code=False)
            model = AutoModelForSequenceClassification.from_pretrained(
                checkpoint, trust_remote_code=False, use_safetensors=True, dtype=torch.float32
            )
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise CheckpointError(
                f"text classifier '{checkpoint}': cannot be loaded: {error}. It must be a transformers "
                "sequence-classification model with a tokenizer and safetensors weights, as a local folder or a hub "
                "name that is reachable from here"
            ) from error
        self._model = model.to(device).eval()
        self._device = device
        self._map = label_map
        self._columns = label_map.columns(model.config.id2label, checkpoint)
        self._max_tokens = _checked_length(label_map, model.config, checkpoint)
        self.name = Path(checkpoint).name if Path(checkpoint).is_dir() else checkpoint
        self.version = getattr(model.config, "_commit_hash", None) or _fingerprint(Path(checkpoint))
        self.categories = tuple(Category)
        if unmapped := label_map.unmapped():
            _log.warning(
                "text classifier '%s' never scores: %s (no label maps to them)", self.name, ", ".join(unmapped)
            )

    def score(self, passages: Sequence[Passage]) -> np.ndarray:
        texts = [passage.context if self._map.context else passage.text for passage in passages]
        labels = np.zeros((len(texts), self._model.config.num_labels), dtype=np.float32)
        for chunk in by_length(texts):
            labels[chunk] = self._probabilities([texts[index] for index in chunk])
        return to_categories(labels, self._columns)

    @torch.inference_mode()
    def _probabilities(self, texts: Sequence[str]) -> np.ndarray:
        tokens = self._tokenizer(
            list(texts), padding=True, truncation=True, max_length=self._max_tokens, return_tensors="pt"
        ).to(self._device)
        logits = self._model(**tokens).logits.float()  # [texts, labels]
        activated = logits.sigmoid() if self._map.activation == "sigmoid" else logits.softmax(dim=-1)
        return activated.cpu().numpy()


def _checked_length(label_map: LabelMap, config: object, checkpoint: str) -> int:
    limit = getattr(config, "max_position_embeddings", None)
    if limit is not None and label_map.max_tokens > limit:
        raise CheckpointError(
            f"text classifier '{checkpoint}': the label map says max_tokens {label_map.max_tokens}, "
            f"but the checkpoint has {limit} positions; lower max_tokens"
        )
    return label_map.max_tokens


def _fingerprint(folder: Path) -> str:
    """The first twelve digits of the SHA-256 of a local checkpoint's weights, its version in verdicts."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:12]
