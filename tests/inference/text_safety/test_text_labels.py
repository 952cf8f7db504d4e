from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aircheck.inference.text_safety.errors import LabelMapError
from aircheck.inference.text_safety.labels import LabelMap, to_categories
from aircheck.inference.text_safety.service import read_card
from aircheck.policy.taxonomy import Category
from aircheck.settings import ROOT


def write(folder: Path, text: str) -> Path:
    path = folder / "labels.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", sorted((ROOT / "server_config" / "labels").glob("text_*.yaml")), ids=lambda p: p.name)
def test_shipped_label_maps_are_valid(path: Path) -> None:
    assert read_card(path).labels


def test_several_labels_of_one_category_give_their_highest_score() -> None:
    label_map = LabelMap(
        activation="sigmoid", max_tokens=64, labels={"a": Category.HATE, "b": Category.HATE, "c": None, "d": "sexual"}
    )
    columns = label_map.columns({0: "a", 1: "b", 2: "c", 3: "d"}, "x")
    scores = to_categories(np.array([[0.1, 0.7, 0.9, 0.2]], dtype=np.float32), columns)[0]
    named = dict(zip(Category, scores.tolist(), strict=True))
    assert named[Category.HATE] == pytest.approx(0.7)
    assert named[Category.SEXUAL] == pytest.approx(0.2)
    assert sum(named.values()) == pytest.approx(0.9)
    assert set(label_map.unmapped()) == set(Category) - {Category.HATE, Category.SEXUAL}


def test_a_label_that_the_map_forgets_is_named() -> None:
    label_map = LabelMap(activation="sigmoid", max_tokens=64, labels={"a": Category.HATE})
    with pytest.raises(LabelMapError, match=r"'x'.*\['b'\].*null"):
        label_map.columns({0: "a", 1: "b"}, "x")


def test_a_label_that_the_checkpoint_lacks_is_named() -> None:
    label_map = LabelMap(activation="sigmoid", max_tokens=64, labels={"a": Category.HATE, "z": None})
    with pytest.raises(LabelMapError, match=r"\['z'\].*'x'.*\['a'\]"):
        label_map.columns({0: "a"}, "x")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("activation: sigmoid\nmax_tokens: 64\nlabels: {toxic: rudeness}", "labels.toxic.*rudeness"),
        (
            "activation: sigmoid\nmax_tokens: 64\nlabels: {toxic: rudeness}",
            "labels.yaml: labels.toxic: .*'hate', 'harassment'.*got 'rudeness'",
        ),
        (
            "activation: sigmoid\nmax_tokens: 64\nlabels:\n  toxic: hate\n  spam: null\n  toxic: profanity",
            "labels.yaml.*'toxic' of line 4 is repeated in line 6; keep one",
        ),
        (
            "activation: sigmoid\nmax_tokens: 64\nlabels: {no: hate}",
            "labels.yaml: labels: .*valid string, got False; quote it",
        ),
        ("activation: tanh\nmax_tokens: 64\nlabels: {toxic: hate}", "activation.*tanh"),
        ("activation: sigmoid\nlabels: {toxic: hate}", "max_tokens"),
        ("activation: sigmoid\nmax_tokens: 64\nlabels: {}", "labels"),
        ("activation: sigmoid\nmax_tokens: 64\nlabels: {toxic: hate}\nthreshold: 1", "threshold"),
        ("- a\n- b", "labels.yaml"),
        ("a: [", "YAML"),
    ],
)
def test_a_faulty_file_is_refused_by_name(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(LabelMapError, match=named):
        read_card(write(tmp_path, text))


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(LabelMapError, match=r"absent.yaml"):
        read_card(tmp_path / "absent.yaml")
