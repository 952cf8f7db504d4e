"""Any transformers sequence-classification checkpoint as a text classifier, by path or hub name."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BatchEncoding,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from aircheck.inference import transformers_checkpoint
from aircheck.inference.text_safety.classifier import of_equal_length, padded
from aircheck.inference.text_safety.errors import CheckpointError
from aircheck.inference.text_safety.labels import LabelMap, to_categories
from aircheck.inference.transformers_checkpoint import UnusableError
from aircheck.policy.taxonomy import Category

_log = logging.getLogger(__name__)


class CheckpointTextClassifier:
    """A checkpoint and its label map. Weights are read from safetensors only, and no code of a hub is ever run."""

    def __init__(self, checkpoint: str, label_map: LabelMap, device: torch.device) -> None:
        """Loads the checkpoint (a folder, or a hub name that transformers finds in its cache or downloads).

        Raises CheckpointError when it cannot be loaded or used, LabelMapError when the labels do not fit.
        """
        try:
            model: Any = transformers_checkpoint.load_model(AutoModelForSequenceClassification, checkpoint)
            self._tokenizer = load_tokenizer(checkpoint, model)
        except UnusableError as fault:
            raise CheckpointError(
                f"text classifier '{checkpoint}': {fault}. It must be a transformers sequence-classification model "
                "with a tokenizer and safetensors weights, as a local folder or a hub name that is reachable from here"
            ) from fault
        self._model = model.to(device)
        self._device = device
        self._map = label_map
        self._columns = label_map.columns(model.config.id2label, checkpoint)
        self._max_tokens = _checked_length(label_map, model, checkpoint)
        self.name = Path(checkpoint).name if Path(checkpoint).is_dir() else checkpoint
        self.version = transformers_checkpoint.version(model, checkpoint)
        self.languages = label_map.languages
        self.categories = tuple(Category)
        self.scores_profanity = True
        self._try(checkpoint)
        if unmapped := label_map.unmapped():
            _log.warning(
                "text classifier '%s' never scores: %s (no label maps to them)", self.name, ", ".join(unmapped)
            )

    def _try(self, checkpoint: str) -> None:
        """Score a short text and the longest."""
        texts = ["yes", "yes " * self._max_tokens]
        remedy = (
            "lower max_tokens in the label map, or check that the tokenizer, config.json and the weights belong "
            "together"
        )
        try:
            transformers_checkpoint.try_out(
                lambda: self._probabilities(texts), f"score a text of {self._max_tokens} tokens", remedy
            )
        except UnusableError as fault:
            raise CheckpointError(f"text classifier '{checkpoint}': {fault}") from fault

    def score(self, texts: Sequence[str]) -> np.ndarray:
        return to_categories(self._probabilities(texts), self._columns)

    def _probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [texts, labels]"""
        labels = np.zeros((len(texts), self._model.config.num_labels), dtype=np.float32)
        if not texts:
            return labels
        tokens = self._tokenizer(list(texts), truncation=True, max_length=self._max_tokens)
        for length, chunk in of_equal_length(tokens, self._max_tokens):
            labels[chunk] = self._activated(padded(self._tokenizer, tokens, chunk, length).to(self._device))
        return labels

    @torch.inference_mode()
    def _activated(self, tokens: BatchEncoding) -> np.ndarray:
        logits = self._model(**tokens).logits.float()  # [texts, labels]
        activated = logits.sigmoid() if self._map.activation == "sigmoid" else logits.softmax(dim=-1)
        return activated.cpu().numpy()


def load_tokenizer(checkpoint: str, model: PreTrainedModel) -> PreTrainedTokenizerBase:
    """The checkpoint's tokenizer, if it can be the model's. Raises UnusableError."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(checkpoint, trust_remote_code=False)
    except Exception as error:  # likewise
        raise UnusableError(
            f"its tokenizer cannot be loaded ({type(error).__name__}: {error}); save it beside the model as "
            "tokenizer.json, with tokenizer.save_pretrained(folder)"
        ) from error
    # without its files, transformers makes a tokenizer of the special tokens alone, to which all words are unknown
    if len(tokenizer) <= len(tokenizer.all_special_ids):
        raise UnusableError("its tokenizer knows no words; put tokenizer.json beside config.json")
    embeddings: Any = model.get_input_embeddings()
    rows = embeddings.weight.shape[0]
    if len(tokenizer) > rows:
        raise UnusableError(
            f"its tokenizer has {len(tokenizer)} tokens, but its model {rows}; the two do not belong together"
        )
    return tokenizer


def _checked_length(label_map: LabelMap, model: PreTrainedModel, checkpoint: str) -> int:
    limit = _positions(model)
    if limit is not None and label_map.max_tokens > limit:
        raise CheckpointError(
            f"text classifier '{checkpoint}': the label map says max_tokens {label_map.max_tokens}, "
            f"but the checkpoint has {limit} positions; lower max_tokens"
        )
    return label_map.max_tokens


def _positions(model: PreTrainedModel) -> int | None:
    """Most tokens that the model takes, where it says so."""
    limit: int | None = getattr(model.config, "max_position_embeddings", None)
    for name, module in model.named_modules():
        # RoBERTa and XLM-R count positions from behind the padding index: 514 of them are room for 512 tokens
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding) and module.padding_idx is not None:
            return module.num_embeddings - module.padding_idx - 1
    return limit
