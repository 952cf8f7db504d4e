from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from aircheck.inference.text_safety import e5, use
from aircheck.inference.text_safety.embedded import HEAD, EmbeddedTextClassifier
from aircheck.inference.text_safety.errors import CheckpointError
from aircheck.inference.text_safety.head import UNDOUBTED, Cascade, load_heads, save_heads
from aircheck.policy.taxonomy import Category

LISTS = {"languages": "en", "categories": ",".join(Category)}


def test_case_and_punctuation_do_not_change_a_score(embedded: EmbeddedTextClassifier) -> None:
    shouted, spoken = embedded.score(["I'm going to KILL you -- I swear!", "i'm going to kill you i swear"])
    assert np.array_equal(shouted, spoken)


@pytest.mark.parametrize("text", ["", "…", "word " * 2_000, "日本語のテキスト", "\x00\ufffd", "a" * 10_000])
def test_odd_text_still_gets_scores_in_range(embedded: EmbeddedTextClassifier, text: str) -> None:
    scores = embedded.score([text])
    assert scores.shape == (1, len(Category))
    assert scores.dtype == np.float32
    assert ((scores >= 0) & (scores <= 1)).all()


def test_no_texts_give_no_rows(embedded: EmbeddedTextClassifier) -> None:
    assert embedded.score([]).shape == (0, len(Category))


def test_the_head_is_small_and_says_what_it_is(embedded: EmbeddedTextClassifier) -> None:
    _, card = load_heads(HEAD)
    assert HEAD.stat().st_size < 2_000_000
    assert {"toxigen", "meeting_qmsum", "own"} <= set(card.data.split(", "))
    assert card.recipe.startswith("python -m training.text_safety.train")
    assert embedded.languages == card.languages
    assert "en" in card.languages


def test_a_saved_head_comes_back_the_same(tmp_path: Path) -> None:
    heads, card = load_heads(HEAD)
    save_heads(heads, card, tmp_path / "head.safetensors")
    again, card_again = load_heads(tmp_path / "head.safetensors")
    assert card_again == card
    kept = again.state_dict()
    assert kept.keys() == heads.state_dict().keys()
    assert all(torch.equal(tensor, kept[name]) for name, tensor in heads.state_dict().items())


def test_a_missing_head_names_the_recipe(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"absent.safetensors.*training.text_safety.train"):
        load_heads(tmp_path / "absent.safetensors")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"categories": "hate,other"}, "hate,other"),
        ({"encoder_sha256": "0" * 64}, "encoder"),
    ],
)
def test_a_head_of_another_taxonomy_or_encoder_is_refused(tmp_path: Path, change: dict[str, str], named: str) -> None:
    _, card = load_heads(HEAD)
    path = tmp_path / "head.safetensors"
    save_file(load_file(HEAD), path, metadata={**vars(card), **LISTS, **change})
    with pytest.raises(CheckpointError, match=named):
        EmbeddedTextClassifier(torch.device("cpu"), path)


def test_a_head_of_another_shape_is_refused(tmp_path: Path) -> None:
    _, card = load_heads(HEAD)
    path = tmp_path / "head.safetensors"
    save_file({"mean": torch.zeros(3)}, path, metadata={**vars(card), **LISTS})
    with pytest.raises(CheckpointError, match="shape"):
        load_heads(path)


def test_the_second_encoder_reads_only_what_the_first_leaves_in_doubt() -> None:
    heads = Cascade().eval()
    torch.nn.init.zeros_(heads.first.network[-1].weight)
    torch.nn.init.constant_(heads.first.network[-1].bias, -9.0)
    read: list[str] = []

    def encode_use(texts: Sequence[str]) -> torch.Tensor:
        return torch.randn(len(texts), use.FEATURES)

    def encode_e5(texts: Sequence[str]) -> torch.Tensor:
        read.extend(texts)
        return torch.zeros(len(texts), e5.FEATURES)

    assert (heads.logits(["calm", "calm too"], encode_use, encode_e5) == -9 - UNDOUBTED).all()
    assert read == []
    with torch.no_grad():
        heads.first.network[-1].bias[3] = 0.0
    logits = heads.logits(["a threat"], encode_use, encode_e5)
    assert read == ["a threat"]
    assert (logits > -9).all()


def test_a_score_does_not_depend_on_what_is_read_beside_it(embedded: EmbeddedTextClassifier) -> None:
    texts = ["I will find you and kill you", "mix the flour with water", "we start at nine", "they are vermin"]
    alone = np.concatenate([embedded.score([text]) for text in texts])
    assert np.array_equal(embedded.score(texts), alone)
    assert np.array_equal(embedded.score([*texts[::-1], *texts * 20])[: len(texts)][::-1], alone)
