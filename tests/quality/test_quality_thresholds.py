"""Proposed thresholds keep the budget on the data they come from, and make packs that load."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from quality_results import PACK, result

from aircheck.policy.packs import Level, load_pack
from benchmarks.quality.manifest import TARGETS
from benchmarks.quality.propose import parse_budgets
from benchmarks.quality.session import UsageError
from benchmarks.quality.thresholds import (
    ThresholdsError,
    above,
    overridden,
    propose,
    proposed_levels,
    proposed_pack,
    write_pack,
)

BUDGETS = dict.fromkeys(TARGETS, 0.01)
CLEAN = [result(f"c{n}", {}, {"hate": n / 500, "profanity": 0.01}) for n in range(400)]  # hate: 0 to 0.798
HARMFUL = [result(f"h{n}", {"hate": None}, {"hate": 0.9 if n < 7 else 0.3}) for n in range(10)]


def proposal(results, target, budgets=BUDGETS):
    return next(one for one in propose(results, PACK, budgets) if one.target == target)


def test_the_proposed_threshold_keeps_the_budget_and_its_recall_is_true():
    found = proposal([*CLEAN, *HARMFUL], "hate")
    flagged = sum(one.text_scores["hate"] >= found.score for one in CLEAN)
    assert flagged == 4  # 1 % of 400, no more and no less
    assert found.recall.value == pytest.approx(0.7)
    assert found.interval[0] <= found.score <= found.interval[1] + 1e-3
    assert found.warnings == ()


def test_a_stricter_budget_gives_a_higher_threshold():
    loose = proposal([*CLEAN, *HARMFUL], "hate", BUDGETS | {"hate": 0.05})
    assert loose.score < proposal([*CLEAN, *HARMFUL], "hate").score


def test_too_few_clean_items_are_said_and_never_lower_a_threshold():
    few = [*CLEAN[:50], *HARMFUL]  # hate up to 0.098, below the pack's 0.5
    found = proposal(few, "hate")
    assert found.score is None
    assert "50 clean items cannot vouch for 1 %: at least 300 are needed" in found.warnings[0]
    high = [*CLEAN[350:], *HARMFUL]  # hate up to 0.798, above the pack's
    assert proposal(high, "hate").score == pytest.approx(0.7981)


def test_what_cannot_be_known_is_said():
    assert "no item is labelled with it" in proposal([*CLEAN, *HARMFUL], "profanity").warnings[0]
    certain = [result(f"c{n}", {}, {"sexual": 1.0}) for n in range(400)]
    found = proposal(certain, "sexual")
    assert found.score is None
    assert "no threshold keeps the budget" in " ".join(found.warnings)
    silent = [one.model_copy(update={"text_scores": None, "event_scores": None}) for one in CLEAN]
    with pytest.raises(ThresholdsError, match="no scores"):
        propose(silent, PACK, BUDGETS)


def test_the_pack_that_is_written_loads_and_holds_the_proposals(tmp_path):
    proposals = propose([*CLEAN, *HARMFUL], PACK, BUDGETS)
    made = proposed_pack(PACK, proposals, "mine", "from 410 items")
    write_pack(made, tmp_path / "mine.yaml", "why\nand how")
    loaded = load_pack(tmp_path / "mine.yaml")
    assert loaded.model_dump() == made.model_dump()  # not equal: a pack knows the hash of its file
    assert (loaded.name, loaded.version) == ("mine", f"{PACK.version}-proposed")
    hate = next(one for one in proposals if one.target == "hate")
    assert loaded.categories["hate"][0].score == hate.score
    assert loaded.categories["hate"][1].score == 0.85  # already above it
    assert loaded.overrides == PACK.overrides
    assert (tmp_path / "mine.yaml").read_text().startswith("# why\n# and how\nname: mine\n")


def test_an_override_that_begins_lower_is_pointed_out():
    noisy = [result(f"c{n}", {}, {"violent_extremism": n / 500}) for n in range(400)]
    (remark,) = overridden(PACK, propose(noisy, PACK, BUDGETS))
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
    score = above(threshold)
    assert threshold < score <= threshold + 1.0001e-4


def test_no_score_is_above_one():
    assert above(1.0) is None


def test_budgets_are_read_for_all_and_for_one():
    budgets = parse_budgets(["0.02", "violence_threat=0.002"])
    assert (budgets["hate"], budgets["violence_threat"]) == (0.02, 0.002)
    assert parse_budgets([])["gunshot"] == 0.01
    for wrong, words in (("hat=0.1", "'hat' is not in the taxonomy"), ("hate=2", "no share"), ("x", "no share")):
        with pytest.raises(UsageError, match=words):
            parse_budgets([wrong])
