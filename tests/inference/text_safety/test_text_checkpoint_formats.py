"""Own text checkpoints as transformers saves them: read, and refused at load when a request could not be answered."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer, BertModel

from aircheck.inference.text_safety.errors import CheckpointError, LabelMapError
from aircheck.inference.text_safety.service import load
from aircheck.policy.taxonomy import Category
from support.own_checkpoints import POSITIONS, TEXT_LABELS
from support.pickles import Runs

CPU = torch.device("cpu")
LABELS = {
    "toxic": "harassment",
    "severe_toxic": "harassment",
    "obscene": "profanity",
    "threat": "violence_threat",
    "insult": None,
    "identity_hate": "hate",
}
TEXTS = ["i will not love the rain", "you", "they hate the dog and the cat in the house", "zebra"]


def label_map(folder: Path, max_tokens: int = 62, **labels: str | None) -> Path:
    path = folder / "labels.yaml"
    path.write_text(json.dumps({"activation": "sigmoid", "max_tokens": max_tokens, "labels": labels or LABELS}))
    return path


@pytest.mark.parametrize("kind", ["tiny_checkpoint", "tiny_xlm_roberta"])
def test_scores_are_transformers_own_in_our_categories(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    folder = request.getfixturevalue(kind)
    scores = load(str(folder), label_map(tmp_path), CPU).score(TEXTS)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    for row, text in enumerate(TEXTS):
        with torch.inference_mode():
            logits = model(**tokenizer(text, return_tensors="pt")).logits[0]
        chances = dict(zip(TEXT_LABELS, logits.sigmoid().tolist(), strict=True))
        expected = {
            "harassment": max(chances["toxic"], chances["severe_toxic"]),
            "profanity": chances["obscene"],
            "violence_threat": chances["threat"],
            "hate": chances["identity_hate"],
        }
        found = dict(zip(map(str, Category), scores[row].tolist(), strict=True))
        assert found == pytest.approx(dict.fromkeys(map(str, Category), 0.0) | expected, abs=1e-5)
    assert np.ptp(scores, axis=0).max() > 1e-2  # it does read the texts


def test_all_positions_of_an_xlm_roberta_can_be_used_and_no_more(tiny_xlm_roberta: Path, tmp_path: Path) -> None:
    usable = POSITIONS - 2  # the first two stand for padding
    classifier = load(str(tiny_xlm_roberta), label_map(tmp_path, max_tokens=usable), CPU)
    assert np.isfinite(classifier.score(["rain " * 5000])).all()
    with pytest.raises(CheckpointError, match=rf"max_tokens {POSITIONS}.*has {usable} positions; lower"):
        load(str(tiny_xlm_roberta), label_map(tmp_path, max_tokens=POSITIONS), CPU)


@pytest.fixture
def folder(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    """A checkpoint of its own, to break."""
    return Path(shutil.copytree(tiny_checkpoint, tmp_path / "mine"))


def refused(folder: Path, labels: Path, *words: str) -> None:
    with pytest.raises(CheckpointError) as raised:
        load(str(folder), labels, CPU)
    for word in (str(folder), *words):
        assert word in str(raised.value)


def change_weights(folder: Path, **changes: torch.Tensor | None) -> None:
    path = folder / "model.safetensors"
    weights = {name: tensor for name, tensor in (load_file(path) | changes).items() if tensor is not None}
    save_file(weights, path, {"format": "pt"})


def change_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_truncated_weights_are_refused(folder: Path, tmp_path: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    refused(folder, label_map(tmp_path), "SafetensorError", "file not fully covered")


def test_missing_weights_are_refused_by_name(folder: Path, tmp_path: Path) -> None:
    change_weights(folder, **{"bert.encoder.layer.1.output.dense.weight": None})
    refused(folder, label_map(tmp_path), "lack bert.encoder.layer.1.output.dense.weight", "at random")


def test_a_model_never_trained_to_classify_is_refused(folder: Path, tmp_path: Path) -> None:
    config = AutoModelForSequenceClassification.from_pretrained(folder).config
    BertModel(config).save_pretrained(folder)
    refused(folder, label_map(tmp_path), "lack classifier.", "fine-tuned")


def test_weights_of_another_shape_are_refused(folder: Path, tmp_path: Path) -> None:
    change_config(folder, hidden_size=64)
    refused(folder, label_map(tmp_path), "has the shape", "config.json wants")


def test_weights_that_are_not_numbers_are_refused(folder: Path, tmp_path: Path) -> None:
    change_weights(folder, **{"classifier.bias": torch.full((6,), float("nan"))})
    refused(folder, label_map(tmp_path), "classifier.bias", "NaN")


def test_a_folder_without_its_tokenizer_is_refused(folder: Path, tmp_path: Path) -> None:
    for name in ("tokenizer.json", "vocab.txt", "tokenizer_config.json"):
        (folder / name).unlink(missing_ok=True)
    refused(folder, label_map(tmp_path), "tokenizer", "tokenizer.json")


def test_the_tokenizer_of_another_model_is_refused(folder: Path, tiny_xlm_roberta: Path, tmp_path: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tiny_xlm_roberta / name, folder / name)
    refused(folder, label_map(tmp_path), "tokenizer has", "do not belong together")


@pytest.mark.parametrize("config", ["{", '{"model_type": "nonsense"}', '{"model_type": "bert", "hidden_size": "x"}'])
def test_a_config_that_cannot_be_used_is_refused(folder: Path, tmp_path: Path, config: str) -> None:
    (folder / "config.json").write_text(config)
    refused(folder, label_map(tmp_path), "cannot be loaded", "sequence-classification")


def test_pickled_weights_are_refused_unread_and_ignored_beside_safetensors(folder: Path, tmp_path: Path) -> None:
    made = tmp_path / "made"
    torch.save({"classifier.bias": Runs(made)}, folder / "pytorch_model.bin")
    load(str(folder), label_map(tmp_path), CPU)
    (folder / "model.safetensors").unlink()
    refused(folder, label_map(tmp_path), "pytorch_model.bin", "never read", "save_pretrained")
    assert not made.exists()
    torch.load(folder / "pytorch_model.bin", weights_only=False)  # the file does hold code
    assert made.exists()


@pytest.mark.parametrize("model_type", ["bert", "mine"])
def test_python_code_beside_the_weights_is_never_run(folder: Path, tmp_path: Path, model_type: str) -> None:
    made = tmp_path / "made"
    (folder / "code.py").write_text(f"open({str(made)!r}, 'w')\nclass Model: ...\n")
    auto = dict.fromkeys(("AutoConfig", "AutoModelForSequenceClassification"), "code.Model")
    change_config(folder, model_type=model_type, auto_map={**auto, "AutoTokenizer": ["code.Model", None]})
    if model_type == "bert":
        load(str(folder), label_map(tmp_path), CPU)  # transformers knows it without the code
    else:
        refused(folder, label_map(tmp_path), "custom code")
    assert not made.exists()


def test_a_label_map_that_misses_a_label_is_refused_by_file_and_label(folder: Path, tmp_path: Path) -> None:
    path = label_map(tmp_path, **{name: value for name, value in LABELS.items() if name != "threat"})
    with pytest.raises(LabelMapError, match=r"labels\.yaml.*mine.*\['threat'\].*add them under 'labels'"):
        load(str(folder), path, CPU)


def test_a_label_map_of_another_checkpoint_is_refused_by_file_and_label(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(LabelMapError, match=r"labels\.yaml.*\['spam'\].*mine.*'threat'.*spelling"):
        load(str(folder), label_map(tmp_path, **LABELS, spam=None), CPU)
