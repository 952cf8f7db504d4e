from __future__ import annotations

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from aircheck.inference.text_safety.errors import CheckpointError, LabelMapError
from aircheck.inference.text_safety.service import load
from aircheck.policy.taxonomy import Category

CPU = torch.device("cpu")
BODY = "labels: {toxic: harassment, severe_toxic: harassment, obscene: profanity, threat: violence_threat, "
SIGMOID = "activation: sigmoid\nmax_tokens: 64\n" + BODY + "insult: null, identity_hate: hate}\n"
TEXTS = ["i will not love the rain", "you", "they hate the dog and the cat in the house", "it is rain"]


@pytest.fixture
def label_map(tmp_path: Path) -> Path:
    path = tmp_path / "labels.yaml"
    path.write_text(SIGMOID)
    return path


def column(scores: np.ndarray, category: Category) -> np.ndarray:
    return scores[:, list(Category).index(category)]


def test_a_local_checkpoint_scores_the_taxonomy_through_its_label_map(tiny_checkpoint: Path, label_map: Path) -> None:
    classifier = load(str(tiny_checkpoint), label_map, CPU)
    scores = classifier.score(TEXTS)
    assert scores.shape == (4, len(Category))
    assert classifier.categories == tuple(Category)
    assert classifier.name == "tiny-bert"
    for category in (Category.HARASSMENT, Category.PROFANITY, Category.VIOLENCE_THREAT, Category.HATE):
        assert np.ptp(column(scores, category)) > 1e-3
    assert not column(scores, Category.SEXUAL).any()


def test_softmax_scores_of_all_labels_sum_to_one(tiny_checkpoint: Path, label_map: Path) -> None:
    every = "labels: {toxic: hate, severe_toxic: harassment, obscene: profanity, threat: violence_threat, "
    label_map.write_text("activation: softmax\nmax_tokens: 64\n" + every + "insult: self_harm, identity_hate: sexual}")
    scores = load(str(tiny_checkpoint), label_map, CPU).score(TEXTS)
    assert scores.sum(axis=1) == pytest.approx(np.ones(4), abs=1e-5)


def test_unmapped_categories_are_named_when_it_loads(
    tiny_checkpoint: Path, label_map: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        load(str(tiny_checkpoint), label_map, CPU)
    assert "self_harm" in caplog.text
    assert "child_safety" in caplog.text


def test_scores_do_not_depend_on_the_batch(tiny_checkpoint: Path, label_map: Path) -> None:
    classifier = load(str(tiny_checkpoint), label_map, CPU)
    batch = TEXTS * 40
    together = classifier.score(batch)
    one_by_one = np.concatenate([classifier.score([text]) for text in batch[:8]])
    assert together[:8] == pytest.approx(one_by_one, abs=1e-5)


def test_text_beyond_the_checkpoints_positions_is_cut(tiny_checkpoint: Path, label_map: Path) -> None:
    scores = load(str(tiny_checkpoint), label_map, CPU).score(["rain " * 5000])
    assert np.isfinite(scores).all()


def test_more_tokens_than_the_checkpoint_has_positions_is_refused(tiny_checkpoint: Path, label_map: Path) -> None:
    label_map.write_text(SIGMOID.replace("max_tokens: 64", "max_tokens: 512"))
    with pytest.raises(CheckpointError, match=r"max_tokens 512.*64 positions"):
        load(str(tiny_checkpoint), label_map, CPU)


def test_pickled_weights_are_refused(tiny_checkpoint: Path, label_map: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pickled"
    shutil.copytree(tiny_checkpoint, folder)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="safetensors"):
        load(str(folder), label_map, CPU)


def test_a_checkpoint_that_is_not_there_is_named(label_map: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nothing-here"):
        load(str(tmp_path / "nothing-here"), label_map, CPU)


def test_a_checkpoint_without_a_label_map_is_refused_with_an_example(tiny_checkpoint: Path) -> None:
    with pytest.raises(LabelMapError, match=r"text_toxic_bert.yaml"):
        load(str(tiny_checkpoint), None, CPU)


def test_the_embedded_classifier_takes_no_label_map(label_map: Path) -> None:
    with pytest.raises(LabelMapError, match="unset text_labels"):
        load("embedded", label_map, CPU)
