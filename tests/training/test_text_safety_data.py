from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from aircheck.inference.text_safety.groups import read
from aircheck.inference.text_safety.head import TextHead
from aircheck.inference.text_safety.sentences import normalise
from aircheck.policy.taxonomy import Category
from training.text_safety.calibrate import (
    BY_WORDS,
    CONFIDENT,
    DOUBTFUL_TALK,
    FLAGGED_PER_HOUR,
    REVIEW,
    calibrate,
    doubt,
)
from training.text_safety.fit import COMMENTS, COMMENTS_CELL, Conventions, Table
from training.text_safety.lines import (
    DATA,
    GROUPS_EACH,
    MAX_WORDS,
    DataError,
    _about_groups,
    read_test,
    read_train,
)
from training.text_safety.sources import MAX_LINES, OWN, Example, capped, own_lines
from training.text_safety.train import LANGUAGES
from training.text_safety.variants import amid_talk, misspelt, variants

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
    content, english = yaml.safe_load((DATA / "train" / "groups.yaml").read_text()), read()["en"]
    sentences = sum(len(content[kind]) for kind in ("harmful", "hard_negative"))
    each = sentences * GROUPS_EACH / len(english.plural)
    made = _about_groups(DATA / "train" / "groups.yaml")
    templates = {*content["harmful"], *content["hard_negative"]}
    for plural, singular in zip(english.plural, english.singular, strict=True):
        told = [
            line
            for line in made
            if line.source in templates
            and line.text
            in {normalise(line.source.split(" +")[0].replace("{group}", plural).replace("{one}", singular))}
        ]
        assert abs(len(told) - each) <= 2, plural


def test_every_covered_language_has_lines_of_ours_of_every_sort() -> None:
    counts = Counter((line.language, line.category, line.kind) for line in TRAIN)
    for language in LANGUAGES:
        assert counts[language, "hate", "harmful"] >= 100, language
        assert counts[language, "hate", "hard_negative"] >= 100, language
        assert counts[language, "harassment", "harmful"] >= 5, language
        assert counts[language, "violence_threat", "harmful"] >= 5, language
    assert not any(mark in line.text for line in TRAIN for mark in "{}")


def test_variants_keep_what_is_known_of_a_line() -> None:
    made = variants(TRAIN)
    assert made == variants(TRAIN)
    assert len(made) >= 0.3 * len(TRAIN)
    known = {(line.source, line.kind, line.labels, line.language) for line in TRAIN}
    assert {(line.source, line.kind, line.labels, line.language) for line in made} <= known
    assert not {line.text for line in made} & {line.text for line in TEST}


def test_a_misspelt_line_differs_in_a_word_or_two() -> None:
    text = "somebody should paint the garden fence"
    made = {misspelt(text, random.Random(seed)) for seed in range(60)}
    assert len(made) >= 20
    for other in made:
        assert len(set(text.split()) - set(other.split())) <= 2
    assert "somebody should paint thegarden fence" not in made  # only longer words are changed


def test_a_line_amid_talk_stands_whole_among_other_words() -> None:
    plain = ["the bus is late today", "we had soup for lunch", "it rained all morning"]
    for seed in range(20):
        made = amid_talk("i will find you", plain, random.Random(seed))
        assert "i will find you" in made
        assert sorted(made.split()) == sorted(" ".join([*plain, "i will find you"]).split())


def test_what_is_peculiar_to_a_source_touches_no_other() -> None:
    torch.manual_seed(0)
    conventions = Conventions(8)
    torch.nn.init.normal_(conventions.terms.weight)
    inputs = torch.randn(3, 8)
    terms = conventions(inputs, torch.tensor([-1, COMMENTS.index("edos"), COMMENTS.index("toxigen")]))
    assert OWN not in COMMENTS
    assert (terms[0] == 0).all()
    alone = conventions(inputs[1:2], torch.tensor([COMMENTS.index("edos")]))
    assert torch.allclose(terms[1], alone[0], atol=1e-5)
    assert not torch.allclose(terms[1], terms[2])


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
    assert float(rare) == pytest.approx(2000 / COMMENTS_CELL)
    assert (table.weights()[:, 1:] == 0).all()


def test_calibration_lets_ordinary_talk_reach_review_seldom_and_confidence_never() -> None:
    rng = np.random.default_rng(0)
    talk = rng.normal(-5, 1, (2400, len(Category))).astype(np.float32)  # 20 hours
    head = TextHead(8)
    calibrate(head, talk, np.full((360, len(Category)), -np.inf), np.full((9, len(Category)), -9.0))
    scores = torch.sigmoid(torch.from_numpy(talk) * head.slope + head.offset).numpy()
    counted = [category not in BY_WORDS for category in Category]
    flagged = (scores[:, counted] >= REVIEW).any(axis=1).sum()
    assert 0.5 * FLAGGED_PER_HOUR * 20 <= flagged <= FLAGGED_PER_HOUR * 20
    assert scores.max() < CONFIDENT


def test_calibration_lets_a_novel_reach_review_more_often_in_threats_and_confidence_never() -> None:
    rng = np.random.default_rng(0)
    fiction = rng.normal(0, 1, (420, len(Category))).astype(np.float32)  # 3.5 hours
    head = TextHead(8)
    calibrate(head, np.full((2400, len(Category)), -9.0), fiction, np.full((9, len(Category)), -9.0))
    scores = torch.sigmoid(torch.from_numpy(fiction) * head.slope + head.offset).numpy()
    reached = dict(zip(Category, (scores >= REVIEW).sum(axis=0), strict=True))
    assert (reached[Category.VIOLENCE_THREAT], reached[Category.HATE]) == (7, 3)
    others = [category is not Category.VIOLENCE_THREAT for category in Category]
    assert scores[:, others].max() < CONFIDENT


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


def test_a_wide_head_gives_the_mean_of_its_members() -> None:
    torch.manual_seed(0)
    heads = [TextHead(8).eval() for _ in range(3)]
    vectors = torch.randn(5, 8)
    with torch.inference_mode():
        mean = torch.stack([head(vectors) for head in heads]).mean(dim=0)
        assert torch.allclose(TextHead.mean_of(heads)(vectors), mean, atol=1e-5)


def test_as_much_of_ordinary_talk_is_in_doubt_as_wanted_and_as_much_in_each_category() -> None:
    torch.manual_seed(0)
    logits = torch.randn(4000, len(Category)) * torch.arange(1, 1 + len(Category))
    texts = [str(index) for index in range(len(logits))]
    levels = doubt(lambda asked: logits[[int(text) for text in asked]], [[text] for text in texts])
    reached = logits >= levels
    assert float(reached.any(dim=1).float().mean()) == pytest.approx(DOUBTFUL_TALK, abs=0.02)
    assert float(reached.sum(dim=0).max() - reached.sum(dim=0).min()) <= 2
