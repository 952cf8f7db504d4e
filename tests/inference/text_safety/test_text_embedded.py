from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from aircheck.inference.text_safety.embedded import HEAD, EmbeddedTextClassifier
from aircheck.inference.text_safety.errors import CheckpointError
from aircheck.inference.text_safety.head import load_head, save_head
from aircheck.inference.text_safety.passages import Passage, passages
from aircheck.policy.taxonomy import Category


def test_case_and_punctuation_do_not_change_a_score(embedded: EmbeddedTextClassifier) -> None:
    shouted = [Passage("I'm going to KILL you -- I swear!", "I'm going to KILL you -- I swear!")]
    spoken = [Passage("i'm going to kill you i swear", "i'm going to kill you i swear")]
    assert embedded.score(shouted) == pytest.approx(embedded.score(spoken), abs=1e-6)


def test_the_context_of_a_segment_matters(embedded: EmbeddedTextClassifier) -> None:
    half = "that he never walks again"
    threat = passages(["when i find him i'm going to make sure", half])[1]
    calm = passages(["the surgeon was afraid", half])[1]
    column = list(Category).index(Category.VIOLENCE_THREAT)
    assert embedded.score([threat])[0, column] > embedded.score([calm])[0, column]


@pytest.mark.parametrize("text", ["", "…", "word " * 20_000, "日本語のテキスト", "\x00\ufffd", "a" * 100_000])
def test_odd_text_still_gets_scores_in_range(embedded: EmbeddedTextClassifier, text: str) -> None:
    scores = embedded.score(passages([text]))
    assert scores.shape == (1, len(Category))
    assert scores.dtype == np.float32
    assert ((scores >= 0) & (scores <= 1)).all()


def test_no_passages_give_no_rows(embedded: EmbeddedTextClassifier) -> None:
    assert embedded.score([]).shape == (0, len(Category))


def test_the_head_is_small_and_says_what_it_is() -> None:
    _, card = load_head(HEAD)
    assert HEAD.stat().st_size < 2_000_000
    assert "synthetic" in card.data
    assert card.recipe.startswith("python -m training.text_safety.train")


def test_a_saved_head_comes_back_the_same(tmp_path: Path) -> None:
    head, card = load_head(HEAD)
    save_head(head, card, tmp_path / "head.safetensors")
    again, card_again = load_head(tmp_path / "head.safetensors")
    vectors = torch.randn(4, head.mean.numel())
    assert card_again == card
    assert torch.equal(again(vectors), head(vectors))


def test_a_missing_head_names_the_recipe(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"absent.safetensors.*training.text_safety.train"):
        load_head(tmp_path / "absent.safetensors")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"categories": "hate,other"}, "hate,other"),
        ({"encoder_sha256": "0" * 64}, "encoder"),
    ],
)
def test_a_head_of_another_taxonomy_or_encoder_is_refused(tmp_path: Path, change: dict[str, str], named: str) -> None:
    _, card = load_head(HEAD)
    path = tmp_path / "head.safetensors"
    save_file(load_file(HEAD), path, metadata={**vars(card), "categories": ",".join(Category), **change})
    with pytest.raises(CheckpointError, match=named):
        EmbeddedTextClassifier(torch.device("cpu"), path)


def test_a_head_of_another_shape_is_refused(tmp_path: Path) -> None:
    _, card = load_head(HEAD)
    path = tmp_path / "head.safetensors"
    save_file({"mean": torch.zeros(3)}, path, metadata={**vars(card), "categories": ",".join(Category)})
    with pytest.raises(CheckpointError, match="shape"):
        load_head(path)
