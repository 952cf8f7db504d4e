"""Proposed thresholds keep the budget on the data they come from, and make packs that load."""

from __future__ import annotations

import gzip

import pytest
from evaluation_tables import PACK, line, table_of
from hypothesis import given
from hypothesis import strategies as st

from aircheck.evaluation.items import TARGETS, DataError, UsageError
from aircheck.evaluation.table import SCORES, read_scores
from aircheck.evaluation.thresholds import (
    above,
    overridden,
    parse_budgets,
    propose,
    proposed_levels,
    proposed_pack,
    write_pack,
)
from aircheck.policy.packs import Level, load_pack

BUDGETS = dict.fromkeys(TARGETS, 0.01)
HARMLESS = [line(f"c{n}", {"hate": False, "sexual": False}, {"hate": n / 500, "sexual": 1.0}) for n in range(400)]
HARMFUL = [line(f"h{n}", {"hate": True}, {"hate": 0.9 if n < 7 else 0.3}) for n in range(10)]


def proposals(pairs, budgets=BUDGETS):
    table = table_of(pairs)
    return {one.target: one for one in propose(table.truth, table.scores, PACK, budgets)}


def test_the_proposed_threshold_keeps_the_budget_and_its_recall_is_true():
    hate = proposals([*HARMLESS, *HARMFUL])["hate"]
    flagged = sum(result.scores["hate"] >= hate.score for _, result in HARMLESS)
    assert flagged == 4  # 1 % of 400, no more and no less
    assert (hate.recall, hate.current_recall, hate.warning) == (0.7, 0.7, "")
    assert proposals([*HARMLESS, *HARMFUL], BUDGETS | {"hate": 0.05})["hate"].score < hate.score


def test_too_few_harmless_items_are_said_and_never_lower_a_threshold():
    few = proposals([*HARMLESS[:50], *HARMFUL])["hate"]  # up to 0.098, below the pack's 0.5
    assert few.score is None
    assert few.warning == "50 harmless items cannot vouch for 1.0%: 300 are needed"
    assert proposals([*HARMLESS[350:], *HARMFUL])["hate"].score == pytest.approx(0.7981)


def test_nothing_is_proposed_where_no_threshold_keeps_the_budget_or_nothing_is_known():
    assert proposals([*HARMLESS, *HARMFUL])["sexual"].score is None
    with pytest.raises(DataError, match="no scored item"):
        proposals([line("a", {}, {"hate": 0.5})])


def test_scores_that_were_written_give_the_same_proposals(tmp_path):
    table = table_of([*HARMLESS, *HARMFUL])
    (tmp_path / SCORES).write_bytes(gzip.compress(table.csv().encode()))
    assert {one.target: one for one in propose(*read_scores(tmp_path / SCORES), PACK, BUDGETS)} == proposals(
        [*HARMLESS, *HARMFUL]
    )
    with pytest.raises(DataError, match="give a folder"):
        read_scores(tmp_path / "none")


def test_the_pack_that_is_written_loads_and_holds_the_proposals(tmp_path):
    found = proposals([*HARMLESS, *HARMFUL])
    made = proposed_pack(PACK, list(found.values()), "mine")
    write_pack(made, tmp_path / "mine.yaml")
    loaded = load_pack(tmp_path / "mine.yaml")
    assert loaded.model_dump() == made.model_dump()  # not equal: a pack knows the hash of its file
    assert (loaded.name, loaded.version) == ("mine", f"{PACK.version}-proposed")
    assert loaded.categories["hate"][0].score == found["hate"].score
    assert loaded.categories["hate"][1].score == 0.85  # already above it
    assert loaded.overrides == PACK.overrides


def test_an_override_that_begins_lower_is_pointed_out():
    noisy = [line(f"c{n}", {"violent_extremism": False}, {"violent_extremism": n / 500}) for n in range(400)]
    (remark,) = overridden(PACK, list(proposals(noisy).values()))
    assert "market DE begins lower for violent_extremism" in remark


@given(st.integers(1, 10_000).map(lambda x: x / 10_000))
def test_levels_rise_and_never_fall_below_where_they_were(score):
    levels = PACK.categories["harassment"]  # 0.5, 0.7, 0.95
    moved = proposed_levels(levels, score)
    assert moved[0].score == score
    scores = [level.score for level in moved]
    assert scores == sorted(set(scores))
    assert all(new.score >= old.score for old, new in list(zip(levels, moved, strict=False))[1:])
    assert [Level.model_validate(level.model_dump()) for level in moved]


@given(st.floats(0.0, 0.9999))
def test_the_score_is_above_the_threshold_but_by_no_more_than_its_last_digit(threshold):
    assert threshold < above(threshold) <= threshold + 1.0001e-4


def test_budgets_are_read_for_all_and_for_one():
    budgets = parse_budgets(["0.02", "violence_threat=0.002"])
    assert (budgets["hate"], budgets["violence_threat"]) == (0.02, 0.002)
    assert parse_budgets([])["gunshot"] == 0.01
    for wrong, words in (("hat=0.1", "'hat' is not in the taxonomy"), ("hate=2", "no share"), ("x", "no share")):
        with pytest.raises(UsageError, match=words):
            parse_budgets([wrong])
