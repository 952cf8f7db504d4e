from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from aircheck.inference.text_safety.head import TextHead
from aircheck.inference.text_safety.sentences import normalise
from aircheck.policy.taxonomy import Category
from training.text_safety.calibrate import BY_WORDS, CONFIDENT, FLAGGED_PER_HOUR, REVIEW, calibrate
from training.text_safety.fit import CELL, Table
from training.text_safety.lines import (
    DATA,
    GROUPS_EACH,
    MAX_WORDS,
    DataError,
    _about_groups,
    read_test,
    read_train,
)
from training.text_safety.sources import MAX_LINES, Example, capped, own_lines

TRAIN, TEST = read_train(), read_test()


def test_each_category_has_enough_of_both_kinds_to_learn_from() -> None:
    counts = Counter((line.category, line.kind) for line in TRAIN)
    for category in Category:
        assert counts[category, "harmful"] >= 300, category
        assert counts[category, "hard_negative"] >= 300, category
    assert counts["benign", "benign"] >= 700


def test_each_category_has_many_lines_that_somebody_wrote() -> None:
    counts = Counter((line.category, line.kind) for line in TRAIN if line.by_hand)
    for category in Category:
        assert counts[category, "harmful"] >= 95, category
        assert counts[category, "hard_negative"] >= 100, category


def test_each_category_has_enough_of_both_kinds_to_be_measured_on() -> None:
    counts = Counter((line.category, line.kind) for line in TEST)
    for category in Category:
        assert counts[category, "harmful"] >= 58, category
        assert counts[category, "hard_negative"] >= 58, category
    assert counts["benign", "benign"] >= 100


def test_nothing_held_out_is_trained_on() -> None:
    trained = {line.text for line in TRAIN} | {part for line in TRAIN for part in line.parts if len(part.split()) > 5}
    held_out = {line.text for line in TEST} | {part for line in TEST for part in line.parts if len(part.split()) > 5}
    assert not trained & held_out


def test_no_line_stands_twice() -> None:
    for lines in (TRAIN, TEST):
        assert [text for text, count in Counter(line.text for line in lines).items() if count > 1] == []


def test_lines_are_short_and_labelled_only_when_harmful() -> None:
    for line in TRAIN + TEST:
        assert 1 <= len(line.text.split()) <= MAX_WORDS
        assert (line.kind == "harmful") == bool(line.labels)


def test_slots_and_templates_fit_together() -> None:
    for path in sorted((DATA / "train").glob("*.yaml")):
        content = yaml.safe_load(path.read_text())
        if "category" in content:
            assert content["category"] == path.stem
            templates = content["harmful"]["templates"] + content["hard_negative"]["templates"]
        else:
            templates = content.get("templates", [])
        used = {name for template in templates for name in _slots(template)}
        assert used == set(content.get("slots", {})), path.name


def _slots(template: str) -> list[str]:
    return [part.split("}")[0] for part in template.split("{")[1:]]


def test_reading_is_deterministic() -> None:
    assert read_train() == TRAIN


def test_every_group_is_spoken_of_as_often_as_any_other() -> None:
    content = yaml.safe_load((DATA / "train" / "groups.yaml").read_text())
    sentences = sum(len(content[kind]) for kind in ("harmful", "hard_negative"))
    each = sentences * GROUPS_EACH / len(content["groups"])
    made = _about_groups(DATA / "train" / "groups.yaml")
    templates = {*content["harmful"], *content["hard_negative"]}
    for plural, singular in content["groups"].items():
        told = [
            line
            for line in made
            if line.source in templates
            and line.text
            in {normalise(line.source.split(" +")[0].replace("{group}", plural).replace("{one}", singular))}
        ]
        assert abs(len(told) - each) <= 2, plural


def test_our_harmful_lines_teach_nothing_about_related_categories() -> None:
    examples = own_lines()
    threats = [item for item in examples if item.labels.get(Category.VIOLENCE_THREAT)]
    assert threats
    assert not any(item.labels.get(Category.VIOLENT_EXTREMISM) is False for item in threats)
    swearing = [item for item in examples if "fuck" in item.text and "{" in item.group]
    assert not any(item.labels.get(Category.PROFANITY) is False for item in swearing)


def test_no_source_outweighs_the_others() -> None:
    lines = [
        Example(f"line {index}", {Category.HATE: index % 10 == 0}, "davidson", str(index)) for index in range(20_000)
    ]
    few = [Example("line", {Category.HATE: True}, "catqa", "")]
    kept = capped(lines + few)
    assert len(kept) == MAX_LINES["davidson"] + 1
    assert sum(item.is_harmful for item in kept) == 2000 + 1
    table = Table.of(kept, torch.zeros(len(kept), 1))
    weights = table.weights()[:, 0]
    rare = weights[-1] / weights[table.targets[:, 0] == 1][0]  # a line of the small source beside one of the large
    assert float(rare) == pytest.approx(2000 / CELL)
    assert (table.weights()[:, 1:] == 0).all()


def test_calibration_lets_ordinary_talk_reach_review_seldom_and_confidence_never() -> None:
    rng = np.random.default_rng(0)
    talk = rng.normal(-5, 1, (2400, len(Category))).astype(np.float32)  # 20 hours
    head = TextHead()
    calibrate(head, talk, np.full((360, len(Category)), -np.inf), np.full((9, len(Category)), -9.0))
    scores = torch.sigmoid(torch.from_numpy(talk) * head.slope + head.offset).numpy()
    counted = [category not in BY_WORDS for category in Category]
    flagged = (scores[:, counted] >= REVIEW).any(axis=1).sum()
    assert 0.5 * FLAGGED_PER_HOUR * 20 <= flagged <= FLAGGED_PER_HOUR * 20
    assert scores.max() < CONFIDENT


@pytest.mark.parametrize(
    ("line", "named"),
    [("something +rudeness", "rudeness"), ("a | b | c", "more than one"), ("word " * 40, "words")],
)
def test_a_faulty_line_is_named(tmp_path: Path, line: str, named: str) -> None:
    for path in (DATA / "train").glob("*.yaml"):
        (tmp_path / "train").mkdir(exist_ok=True)
        content = yaml.safe_load(path.read_text())
        if path.stem == "hate":
            content["harmful"]["lines"].append(line)
        (tmp_path / "train" / path.name).write_text(yaml.safe_dump(content))
    with pytest.raises(DataError, match=f"(?s)hate.yaml.*{named}"):
        read_train(tmp_path)
