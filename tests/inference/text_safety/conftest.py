"""Shared parts of the text-safety tests: the embedded classifier, and real, tiny, untrained checkpoints on disk."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from aircheck.inference.text_safety.embedded import EmbeddedTextClassifier
from support.own_checkpoints import save_bert, save_xlm_roberta


@pytest.fixture(scope="session")
def embedded() -> EmbeddedTextClassifier:
    return EmbeddedTextClassifier(torch.device("cpu"))


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of two small layers with six labels, saved as safetensors with its tokenizer."""
    return save_bert(tmp_path_factory.mktemp("checkpoint") / "tiny-bert")


@pytest.fixture(scope="session")
def tiny_xlm_roberta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Likewise an XLM-RoBERTa, with a tokenizer of another kind."""
    return save_xlm_roberta(tmp_path_factory.mktemp("checkpoint") / "tiny-xlm-roberta")
