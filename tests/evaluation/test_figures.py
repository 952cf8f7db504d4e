"""Figures count what is known, by whom and how often, and say what they rest on."""

from __future__ import annotations

import numpy as np
import pytest
from evaluation_tables import clip, line, table_of

from aircheck.evaluation.figures import figures
from aircheck.evaluation.items import Item, Result, Span


def found(pairs, **options):
    frame = figures(table_of(pairs), **options)
    assert frame["name"].is_unique
    return frame.set_index("name")


def test_only_items_whose_truth_is_known_count():
    pairs = [
        line("a", {"hate": True}, {"hate": 0.9, "sexual": 0.9}),
        line("b", {"hate": True}, {"hate": 0.2, "sexual": 0.0}),
        line("c", {"hate": False}, {"hate": 0.6, "sexual": 0.0}),
        line("d", {"hate": False}, {"hate": 0.1, "sexual": 0.9}),  # sexual: flagged, and nobody knows whether rightly
        line("e", {}, {"hate": 0.9, "sexual": 0.9}),
    ]
    got = found(pairs)
    assert got.loc["hate.recall", ["hits", "of"]].tolist() == [1, 2]
    assert got.loc["hate.false_positive_rate", ["hits", "of"]].tolist() == [1, 2]
    assert got.loc["hate.precision", ["hits", "of"]].tolist() == [1, 2]
    assert got.loc["hate.auc", "value"] == 0.75
    assert got.loc["false_alarms", ["hits", "of"]].tolist() == [1, 2]
    assert got.loc["flagged", ["hits", "of"]].tolist() == [4, 5]
    assert "sexual.recall" not in got.index


def test_a_swear_word_is_no_false_alarm_beside_profanity():
    pairs = [
        line("listed", {"hate": False, "profanity": False}, {"hate": 0.1, "profanity": 0.9}),
        line("swearing", {"hate": False, "profanity": True}, {"hate": 0.1, "profanity": 0.9}),
        line("flagged", {"hate": False, "profanity": True}, {"hate": 0.9, "profanity": 0.9}),
        line("unknown", {"profanity": False}, {"hate": 0.9, "profanity": 0.1}),
    ]
    got = found(pairs)
    assert got.loc["false_alarms_beside_profanity", ["hits", "of"]].tolist() == [1, 3]
    assert got.loc["false_alarms", ["hits", "of"]].tolist() == [1, 2]


def test_a_share_of_all_still_has_an_interval():
    got = found([line(str(n), {"hate": True}, {"hate": 0.9}) for n in range(20)])
    share = got.loc["hate.recall"]
    assert share["value"] == share["high"] == pytest.approx(1.0)
    assert 0.8 < share["low"] < 0.9


def test_the_mean_over_categories_weighs_data_sets_alike():
    many = [line(f"m{n}", {"hate": bool(n % 2)}, {"hate": 0.9 * (n % 2)}, "easy") for n in range(40)]
    few = [line(f"f{n}", {"hate": bool(n % 2)}, {"hate": 0.9 * (1 - n % 2)}, "hard") for n in range(4)]
    got = found(many + few)
    assert got.loc["source=easy.hate.auc", "value"] == 1.0
    assert got.loc["source=hard.hate.auc", "value"] == 0.0
    assert got.loc["categories.auc", "value"] == 0.5


def test_recall_at_a_budget_lets_no_more_through():
    rng = np.random.default_rng(0)
    pairs = [line(f"n{n}", {"hate": False}, {"hate": score}) for n, score in enumerate(rng.uniform(0, 0.5, 100))]
    top = sorted((result.scores["hate"] for _, result in pairs), reverse=True)
    pairs += [line(f"p{n}", {"hate": True}, {"hate": score}) for n, score in enumerate([top[3], top[7], 0.0, 0.9])]
    got = found(pairs)
    assert got.loc["hate.recall_at_5pct_fpr", "value"] == 0.5
    assert got.loc["hate.recall_at_1pct_fpr", "value"] == 0.25


def test_languages_that_the_classifier_was_not_trained_on_are_listed_apart():
    pairs = [
        line(f"{language}{n}", {"hate": bool(n % 2)}, {"hate": abs(n % 2 - wrong) * 0.9}, language=language)
        for language, wrong in (("de", 0), ("fr", 0), ("hi", 1))
        for n in range(10)
    ]
    got = found(pairs, languages=("de", "fr"))
    assert got.loc["language=set/de.hate.auc", "value"] == 1.0
    assert got.loc["unread language=set/hi.hate.auc", "value"] == 0.0
    assert got.loc["hate.auc_over_languages", "value"] == 1.0
    assert "language=set/hi.hate.auc" not in got.index


def test_flagged_and_blocked_talk_is_counted_in_an_hour():
    talk = {"slices": {"talk": "meeting"}}
    calm = [line(f"c{n}", {}, {"hate": 0.1}, "talk_a", **talk) for n in range(237)]
    flagged = [line("f", {}, {"hate": 0.6}, "talk_a", **talk), line("p", {}, {"profanity": 0.6}, "talk_a", **talk)]
    got = found([*calm, *flagged, line("b", {}, {"hate": 0.9}, "talk_a", **talk)])  # 240 windows are two hours
    assert got.loc["talk.flagged_per_hour", "value"] == 1.5
    assert got.loc["talk.flagged_per_hour_beside_profanity", "value"] == 1.0
    assert got.loc["source=talk_a.blocked_per_hour", "value"] == 0.5
    assert got.loc["talk.blocked_per_hour", "high"] == pytest.approx(5.57 / 2, abs=0.01)  # Poisson's, of one
    assert got.loc["hate.flagged_per_hour", "value"] == 1.0


def test_groups_differ_by_what_their_name_alone_does():
    pairs = [
        line(f"{group}{n}", {"hate": False}, {"hate": score}, slices={"group": group}, template=str(n), language="en")
        for group, scores in (("women", [0.6] * 6 + [0.4] * 4), ("men", [0.6] * 2 + [0.4] * 8))
        for n, score in enumerate(scores)
    ]
    lone = line("x", {"hate": False}, {"hate": 0.9}, slices={"group": "others"}, template="z", language="en")
    got = found([*pairs, lone])
    assert got.loc["source=set.false_alarms_group_gap", "value"] == pytest.approx(0.4)
    assert got.loc["source=set.score_group_gap", "value"] == pytest.approx(0.04)
    assert got.loc["group=women.false_alarms", ["hits", "of"]].tolist() == [6, 10]


def test_false_events_are_spans_in_harmless_recordings_an_hour():
    shot = Span(target="gunshot", start_s=1.0, end_s=1.5, score=0.9)
    doubt = shot.model_copy(update={"score": 0.3})
    pairs = [clip(f"m{n}", "music", [shot, shot] if n == 0 else [doubt]) for n in range(100)]  # an hour
    got = found([*pairs, clip("g", "gunshot", [shot])])
    assert got.loc["kind=music.false_events_per_hour", "value"] == 2.0
    assert got.loc["gunshot.recall", "value"] == 1.0
    assert got.loc["gunshot.false_positive_rate", "hits"] == 1


def test_a_sound_is_found_by_its_span_not_by_a_passing_score():
    item, result = clip("m", "music", [])
    got = found([(item, result.model_copy(update={"scores": {"gunshot": 0.9}}))])
    assert got.loc["gunshot.false_positive_rate", "hits"] == 0


def test_true_spans_need_one_of_their_own():
    true = [Span(target="gunshot", start_s=at, end_s=at + 0.5) for at in (1.0, 5.0)]
    near = Span(target="gunshot", start_s=1.2, end_s=1.6, score=0.8)
    got = found([clip("g", "gunshot", [near], spans=true)])
    assert got.loc["events.span_f1", ["hits", "of"]].tolist() == [2, 3]


def test_words_are_counted_by_language_and_where_nobody_speaks():
    def heard(id_, language, truth, transcript):
        item = Item(id_, "set", {}, transcript=truth, language=language, speaker=id_)
        return item, Result(id=id_, fingerprint="", transcript=transcript)

    got = found(
        [
            heard("a", "en", "mister smith does not like the colour", "Mr. Smith doesn't like the color."),
            heard("b", "de", "grüße herr weiß", "Grüße, Frau Weiß!"),
            heard("c", "en", "", "thank you"),
            heard("d", "en", "", " … "),
        ]
    )
    assert got.loc["language=set/en.wer", "value"] == 0.0
    assert got.loc["language=set/de.wer", "value"] == pytest.approx(1 / 3)
    assert got.loc["hallucinated", ["hits", "of"]].tolist() == [1, 2]


def test_what_could_not_be_scored_is_counted():
    good = line("a", {"hate": True}, {"hate": 0.9})
    bad = (Item("b", "set", {"hate": True}), Result(id="b", fingerprint="", error="broken"))
    assert found([good, bad], n_errors=1).loc["errors", "value"] == 1
    assert found([good, bad], n_errors=1).loc["hate.recall", "of"] == 1
