from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest
import yaml

from aircheck.policy.taxonomy import Category
from training.text_safety import transcripts
from training.text_safety.asr_noise import Confusions, Recogniser
from training.text_safety.evaluate import heard, word_error_rate
from training.text_safety.examples import Stage
from training.text_safety.lines import DATA, MAX_WORDS, DataError, Line, read_test, read_train
from training.text_safety.train import confusions, heard_lines, training_examples

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


def test_reading_and_staging_are_deterministic() -> None:
    assert read_train() == TRAIN
    assert training_examples(3) == training_examples(3)


def test_recognition_errors_come_at_the_rate_asked_for() -> None:
    recogniser, rng = Recogniser({"rain", "run", "ran", "train", "town"}), random.Random(0)
    text = "the train ran into town in the rain " * 200
    assert recogniser.hear(text, 0.0, rng).split() == text.split()
    heard = " ".join(recogniser.hear(word, 0.2, rng) for word in text.split())
    wrong = sum(a != b for a, b in zip(heard.split(), text.split(), strict=True))
    assert 0.05 < wrong / len(text.split()) < 0.25
    assert recogniser.hear("rain", 1.0, rng)


def test_what_was_misheard_is_learned() -> None:
    learned = Confusions()
    for _ in range(20):
        learned.learn("he drank the bleach today", "he drank the beach today")
    recogniser, rng = Recogniser(["he", "drank"], learned), random.Random(0)
    made = [recogniser.hear("the bleach", 0.3, rng) for _ in range(200)]
    assert sum(text == "the beach" for text in made) > 60
    assert learned.rate == pytest.approx(0.2)
    assert learned.relative_rates()["bleach"] > 1 > learned.relative_rates()["today"]


def test_every_held_out_line_was_transcribed_and_keeps_its_labels() -> None:
    lines = heard(TEST)
    assert [line.labels for line in lines] == [line.labels for line in TEST]
    assert 0.02 < word_error_rate(TEST, lines) < 0.6  # it is no copy of the script, and no noise


def test_enough_training_lines_were_transcribed_to_learn_from() -> None:
    known = heard_lines(TRAIN)
    assert len(known) >= 800
    assert confusions(TRAIN, known).heard
    assert {line.kind for line in known.values()} == {"harmful", "hard_negative", "benign"}


def test_no_held_out_transcript_stands_among_those_to_learn_from() -> None:
    assert not set(transcripts.read(transcripts.TEST).segments) & set(transcripts.read(transcripts.TRAIN).segments)


def test_a_line_without_a_transcript_names_the_command() -> None:
    with pytest.raises(DataError, match=r"never said.*training.text_safety.transcribe"):
        transcripts.read(transcripts.TEST).heard(Line(("never said",), "benign", "benign"))


def test_transcripts_come_back_as_written(tmp_path: Path) -> None:
    made = transcripts.Transcripts("1", "ab", {"i'd say, so": ("I'd say,", "so."), "nothing": ()})
    transcripts.write(made, tmp_path / "t.json")
    assert transcripts.read(tmp_path / "t.json") == made


def test_a_neighbours_harm_is_never_taught_as_the_segments_own() -> None:
    recogniser = Recogniser(["a"])
    calm = [line for line in TRAIN if line.kind != "harmful"][:300]
    examples = Stage(TRAIN, recogniser, ["{core}"], {}, random.Random(0)).examples(calm)
    assert all(not example.labels for example in examples)
    assert any(example.passage.context != example.passage.text for example in examples)


def test_both_halves_of_a_cut_passage_carry_its_harm() -> None:
    harmful = [line for line in TRAIN if line.kind == "harmful"][:300]
    examples = Stage(TRAIN, Recogniser(["a"]), ["{core}"], {}, random.Random(0)).examples(harmful)
    halves = [example for example in examples if example.half]
    assert len(halves) > 100
    assert all(example.labels == example.line.labels for example in halves)


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
