"""The report's figures, on results whose truth is plain."""

import pytest
from quality_results import RULES, conditions, result

from benchmarks.quality.build import build
from benchmarks.quality.identity import identity
from benchmarks.quality.manifest import Item
from benchmarks.quality.results import Result
from benchmarks.quality.scored import scored

TEN_HARMFUL = [result(f"h{n}", {"hate": (0.0, 2.0)}, {"hate": 0.9 if n < 8 else 0.1}) for n in range(10)]
TWENTY_CLEAN = [result(f"c{n}", {}, {"hate": 0.6 if n == 0 else 0.01}) for n in range(20)]


def report(tmp_path, results, **options):
    manifest = tmp_path / "m.jsonl"
    manifest.write_text("{}\n")
    return build(results, conditions(), manifest=manifest, command="aircheck evaluate", rules=RULES, **options)


def target(made, name):
    return next(one for one in made.targets if one.name == name)


def test_precision_recall_and_false_positives_at_the_packs_threshold(tmp_path):
    other = [result(f"o{n}", {"harassment": None}, {"hate": 0.7, "harassment": 0.8}) for n in range(3)]
    made = report(tmp_path, [*TEN_HARMFUL, *TWENTY_CLEAN, *other])
    hate = target(made, "hate")
    assert (hate.positives, hate.clean, hate.pack_threshold) == (10, 20, 0.5)
    assert hate.recall.value == 0.8
    assert hate.precision.value == pytest.approx(
        8 / 12
    )  # flags on items that are harmful in another way are wrong here
    assert hate.false_positive_rate.value == pytest.approx(1 / 20)  # but are no innocent items flagged
    assert hate.recall_at_budget.value == 0.8  # 1 % of 20 items is none: above the highest clean score, 0.6
    assert hate.budget_threshold == pytest.approx(0.6)
    assert made.figures["recall.hate"] == 0.8
    assert made.figures["recall_at_1pct_fpr.hate"] == 0.8
    assert made.clean_flagged.value == pytest.approx(1 / 20)


def test_a_wider_budget_is_named_and_finds_more(tmp_path):
    made = report(tmp_path, [*TEN_HARMFUL, *TWENTY_CLEAN], budget=0.05)
    assert made.figures["recall_at_5pct_fpr.hate"] == 1.0
    assert "recall_at_1pct_fpr.hate" not in made.figures


def test_what_is_taken_for_what_and_what_was_decided(tmp_path):
    both = result("both", {"hate": None, "profanity": None}, {"hate": 0.9})
    made = report(tmp_path, [*TEN_HARMFUL, *TWENTY_CLEAN, both])
    rows = {row.label: row for row in made.confusion}
    assert (rows["hate"].items, rows["hate"].found, rows["hate"].nothing) == (10, {"hate": 8}, 2)
    assert (rows["nothing"].items, rows["nothing"].found, rows["nothing"].nothing) == (20, {"hate": 1}, 19)
    assert rows["several"].items == 1
    decided = {row.group: row for row in made.decisions}
    assert decided["hate"].actions["block"] == 9
    assert decided["nothing unsafe"].actions["review"] == 1
    assert decided["something unsafe"].items == 11


def test_errors_are_counted_and_spoil_nothing(tmp_path):
    bad = Result(item=Item(id="bad", audio="bad.wav"), source_sha256="", error="bad.wav: not audio; send another")
    made = report(tmp_path, [*TEN_HARMFUL, bad, *TWENTY_CLEAN])
    assert made.figures["errors"] == 1
    assert made.faults[0].error == "bad.wav: not audio; send another"
    assert made.figures["recall.hate"] == 0.8


def test_places_of_events(tmp_path):
    exact = result("exact", {"gunshot": (10.0, 10.5)}, events=(("gunshot", 10.1, 10.6, 0.9),))
    late = result("late", {"gunshot": (10.0, 10.5)}, events=(("gunshot", 12.0, 12.5, 0.9),))
    made = report(tmp_path, [exact, late, result("calm")])
    gunshot = target(made, "gunshot")
    assert gunshot.recall.value == 1.0
    assert gunshot.event_f1.value == 0.5
    assert gunshot.overlap.value == pytest.approx((0.4 / 0.6) / 2, abs=1e-6)
    assert gunshot.start_error_s.value == pytest.approx((0.1 + 2.0) / 2)
    assert made.figures["events.f1.macro"] == 0.5


def test_words_are_counted_over_all_items_and_silence_must_stay_silent(tmp_path):
    right = result("r", heard="the red door opens", transcript="The red door: opens!")
    wrong = result("w", heard="blue fly", transcript="blue sky")
    quiet = [result("q1", heard="", transcript=""), result("q2", heard="thank you", transcript="")]
    made = report(tmp_path, [right, wrong, *quiet])
    assert made.wer.n == 6
    assert made.figures["wer"] == pytest.approx(1 / 6, abs=1e-6)
    assert made.figures["hallucinated"] == 0.5


def test_slices_show_who_is_served_worse_and_by_how_much(tmp_path):
    results = [
        result(f"{sex}{n}", {"hate": None}, {"hate": 0.9 if n < found else 0.1}, slices={"sex": sex})
        for sex, found in (("female", 12), ("male", 38))
        for n in range(40)
    ]
    made = report(tmp_path, results)
    (key,) = made.slices
    female, male = key.values
    assert (female.value, female.recall.value, male.recall.value) == ("female", 0.3, 0.95)
    assert male.recall_gap is None
    assert female.recall_gap.best == "male"
    assert female.recall_gap.measure.value == pytest.approx(0.65)
    assert 0.4 < female.recall_gap.measure.low < 0.65 < female.recall_gap.measure.high < 0.85
    assert female.recall_gap.clear
    assert made.figures["slices.sex.female.recall"] == pytest.approx(0.3)


def test_a_slice_of_very_few_is_never_the_best_one(tmp_path):
    results = [
        result(f"{kind}{n}", {"hate": None}, {"hate": 0.9 if n < found else 0.1}, slices={"speed": kind})
        for kind, total, found in (("slow", 20, 10), ("normal", 20, 15), ("fast", 2, 2))
        for n in range(total)
    ]
    (key,) = report(tmp_path, results).slices
    gaps = {one.value: one.recall_gap for one in key.values}
    assert gaps["slow"].best == "normal"
    assert gaps["normal"] is None


def test_hard_negatives_are_counted_by_their_kind(tmp_path):
    words = [result(f"l{n}", {}, {"hate": 0.9 if n == 0 else 0.1}, slices={"kind": "hard negative"}) for n in range(4)]
    sound = result("door", {}, events=(("gunshot", 1.0, 1.2, 0.7),), slices={"kind": "hard negative sound"})
    made = report(tmp_path, [*words, sound])
    assert made.hard_negatives_flagged.value == 0.25
    assert made.hard_negative_sounds_flagged.value == 1.0
    assert made.slices[0].values[0].false_positive_gap is None  # kinds are not to be compared


def swapped(sentence, term, score):
    return result(
        f"{sentence}-{term}", {}, {"hate": score}, slices={"identity_sentence": sentence, "identity_term": term}
    )


def test_a_name_that_moves_the_score_is_seen(tmp_path):
    results = [swapped(f"s{n}", term, score) for n in range(6) for term, score in (("A", 0.7), ("B", 0.1), ("C", 0.1))]
    made = report(tmp_path, results)
    first = made.identity.shifts[0]
    assert (first.term, first.category) == ("A", "hate")
    assert first.shift.value == pytest.approx(0.4)
    assert made.figures["identity_gap"] == pytest.approx(0.4)
    assert made.identity.decisions_differ.value == 1.0
    spread = made.identity.spreads[0]
    assert (spread.category, spread.worst_spread) == ("hate", pytest.approx(0.6))


def test_names_that_move_nothing_have_no_gap():
    data = scored([swapped(f"s{n}", term, 0.2) for n in range(4) for term in "AB"])
    assert identity(data).gap == pytest.approx(0.0)
    assert identity(data).decisions_differ.value == 0.0
    assert identity(scored(TEN_HARMFUL)) is None


def test_the_worst_mistakes_come_first(tmp_path):
    made = report(
        tmp_path,
        [
            result("sure", {}, {"hate": 0.95}),
            result("unsure", {}, {"hate": 0.55}),
            result("mixed", {"profanity": None}, {"hate": 0.99, "profanity": 0.9}),
            result("missed", {"hate": (3.0, 4.0)}, {"hate": 0.2}, transcript="what was said"),
            result("far off", {"hate": None}, {"hate": 0.01}),
        ],
    )
    assert [one.id for one in made.false_positives] == ["sure", "unsure", "mixed"]  # harmless items come first
    assert [one.id for one in made.false_negatives] == ["far off", "missed"]
    missed = made.false_negatives[1]
    assert (missed.start_s, missed.end_s, missed.reference) == (3.0, 4.0, "what was said")


def test_every_figure_of_an_empty_run_is_unknown_and_none_raises(tmp_path):
    made = report(tmp_path, [Result(item=Item(id="bad", audio="b"), source_sha256="", error="x: y")])
    assert made.figures["wer"] is None
    assert made.figures["clean_flagged"] is None
    assert made.targets == ()
