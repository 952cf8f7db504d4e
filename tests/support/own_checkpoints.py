"""Text and audio classifiers as users bring them: tiny, of random weights, saved by transformers itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import (
    ASTConfig,
    ASTFeatureExtractor,
    ASTForAudioClassification,
    BertConfig,
    BertForSequenceClassification,
    BertTokenizer,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForSequenceClassification,
    WavLMConfig,
    WavLMForSequenceClassification,
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
    XLMRobertaTokenizer,
)

TEXT_LABELS = ["toxic", "severe_toxic", "obscene", "threat", "insult", "identity_hate"]
AUDIO_LABELS = ["Screaming", "Gunshot, gunfire", "Machine gun", "Speech"]
WORDS = "i you we they will not love hate the a dog cat rain house to and of in it is".split()
POSITIONS = 64  # of the text models; XLM-R can use two fewer


def _labelled(labels: Sequence[str]) -> dict[str, Any]:
    return {
        "num_labels": len(labels),
        "id2label": dict(enumerate(labels)),
        "label2id": {label: index for index, label in enumerate(labels)},
    }


def _small(labels: Sequence[str]) -> dict[str, Any]:
    return {"num_hidden_layers": 2, "num_attention_heads": 2, **_labelled(labels)}


def save_bert(folder: Path, bias: Sequence[float] | None = None) -> Path:
    """A `BertForSequenceClassification` with its tokenizer; with `bias`, its logits for whatever it reads."""
    folder.mkdir(parents=True)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        intermediate_size=64,
        max_position_embeddings=POSITIONS,
        initializer_range=0.5,  # so that outputs differ visibly between texts
        **_small(TEXT_LABELS),
    )
    model = BertForSequenceClassification(config)
    _always(model.classifier, bias)
    model.save_pretrained(folder)
    BertTokenizer(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    return folder


def save_xlm_roberta(folder: Path) -> Path:
    """An `XLMRobertaForSequenceClassification` with a unigram tokenizer of a few words and all letters."""
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    pieces = [*special, "▁", *(f"▁{word}" for word in WORDS), *"abcdefghijklmnopqrstuvwxyz", "<mask>"]
    torch.manual_seed(0)
    config = XLMRobertaConfig(
        vocab_size=len(pieces),
        hidden_size=32,
        intermediate_size=64,
        max_position_embeddings=POSITIONS,
        type_vocab_size=1,
        initializer_range=0.5,
        **_small(TEXT_LABELS),
    )
    XLMRobertaForSequenceClassification(config).save_pretrained(folder)
    scored = [(piece, 0.0 if piece in special else -5.0 + len(piece) / 10) for piece in pieces]
    XLMRobertaTokenizer(vocab=scored).save_pretrained(folder)
    return folder


def save_audio_model(folder: Path, kind: str, bias: Sequence[float] | None = None) -> Path:
    """An audio classifier of a kind in AUDIO_KINDS; with `bias`, its logits for whatever it hears."""
    torch.manual_seed(0)
    model, extractor = AUDIO_KINDS[kind]()
    head = model.classifier if isinstance(model.classifier, torch.nn.Linear) else model.classifier.dense
    _always(head, bias)
    model.save_pretrained(folder)
    extractor.save_pretrained(folder)
    return folder


def _always(head: torch.nn.Linear, logits: Sequence[float] | None) -> None:
    if logits is not None:
        with torch.no_grad():
            head.weight.zero_()
            head.bias.copy_(torch.tensor(logits))


def _waveform_config(kind: type) -> Any:
    return kind(
        hidden_size=16,
        intermediate_size=16,
        conv_dim=(8, 8),
        conv_stride=(20, 16),
        conv_kernel=(20, 16),
        num_feat_extract_layers=2,
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
        classifier_proj_size=8,
        **_small(AUDIO_LABELS),
    )


def _ast() -> tuple[Any, Any]:
    config = ASTConfig(hidden_size=16, intermediate_size=16, max_length=128, **_small(AUDIO_LABELS))
    return ASTForAudioClassification(config), ASTFeatureExtractor(max_length=128)


AUDIO_KINDS = {
    "wav2vec2": lambda: (
        Wav2Vec2ForSequenceClassification(_waveform_config(Wav2Vec2Config)),
        Wav2Vec2FeatureExtractor(),
    ),
    "wavlm": lambda: (WavLMForSequenceClassification(_waveform_config(WavLMConfig)), Wav2Vec2FeatureExtractor()),
    "ast": _ast,
}
