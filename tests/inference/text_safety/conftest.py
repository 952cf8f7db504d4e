"""Shared parts of the text-safety tests: the embedded classifier, and a real, tiny, untrained checkpoint on disk."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

from aircheck.inference.text_safety.embedded import EmbeddedTextClassifier

LABELS = ["toxic", "severe_toxic", "obscene", "threat", "insult", "identity_hate"]
WORDS = "i you we they will not love hate the a dog cat rain house to and of in it is".split()


@pytest.fixture(scope="session")
def embedded() -> EmbeddedTextClassifier:
    return EmbeddedTextClassifier(torch.device("cpu"))


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of two small layers with six labels, saved as safetensors with its tokenizer."""
    folder = tmp_path_factory.mktemp("checkpoint") / "tiny-bert"
    folder.mkdir()
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        id2label=dict(enumerate(LABELS)),
        label2id={label: index for index, label in enumerate(LABELS)},
        initializer_range=0.5,  # so that outputs differ visibly between texts
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    BertTokenizer(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    return folder
