"""Composition rules: what is found beside something else is raised, lowered and explained, in windows and episodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from policy_findings import WINDOW_S, found, heard, said, sounds, text_findings, texts, transcript_of

from aircheck.policy.compositions import Composition, Compositions
from aircheck.policy.decide import decide_window
from aircheck.policy.errors import PolicyError
from aircheck.policy.fold import fold, shift
from aircheck.policy.packs import PackLibrary, Rules, load_pack
from aircheck.settings import ROOT
from aircheck_client.schema import Action, Context, EventSpan, Evidence, Finding, Severity, Verdict

POLICIES = ROOT / "server_config" / "policies"
LIBRARY = PackLibrary(POLICIES)
RULES = LIBRARY["default"].for_context(Context())
THREAT = said("violence_threat", 0.6, "i will find you", 4.0, 6.0)


def sound(event: str, start_s: float, end_s: float, score: float = 0.9) -> EventSpan:
    return EventSpan(event=event, start_s=start_s, end_s=end_s, score=score)


def window(*items: Any, start_s: float = 0.0, rules: Rules = RULES) -> Verdict:
    text = text_findings(*(item for item in items if not isinstance(item, EventSpan)))
    acoustic = heard(*(item for item in items if isinstance(item, EventSpan)))
    return shift(decide_window(found(transcript_of(text), text, acoustic, WINDOW_S), Context(), rules), start_s)


def finding(verdict: Verdict, category: str) -> Finding:
    return next(item for item in verdict.findings if item.category == category)


def test_a_scream_beside_a_threat_is_raised_and_its_reason_says_why() -> None:
    alone = finding(window(sound("scream", 8, 9, 0.6)), "scream")
    assert (alone.severity, alone.action) == (Severity.LOW, Action.ALLOW)
    beside = finding(window(THREAT, sound("scream", 8, 9, 0.6)), "scream")
    assert (beside.severity, beside.action, beside.score) == (Severity.HIGH, Action.REVIEW, 0.6)
    assert beside.reason == (
        "scream 0.60 ≥ 0.50 at 00:08–00:09 (sound) [beside violence_threat: a scream beside a threat may be an attack "
        "as it happens] → high, review (default v4)"
    )


def test_a_shot_in_the_middle_of_music_is_lowered_and_one_beside_it_is_not() -> None:
    shots = (sound("gunshot", 3, 4), sound("gunshot", 20, 21))
    inside, outside = finding(window(*shots, sound("music", 0, 9)), "gunshot").evidence
    assert (inside.action, outside.action) == (Action.ALLOW, Action.REVIEW)
    assert "beside music: shots in the middle of music" in inside.note
    assert outside.note == ""


def test_what_is_too_far_away_changes_nothing() -> None:
    assert finding(window(THREAT, sound("scream", 21.5, 22, 0.6)), "scream").action is Action.ALLOW
    assert finding(window(THREAT, sound("scream", 20.5, 22, 0.6)), "scream").action is Action.REVIEW


def test_a_category_below_its_levels_is_no_company() -> None:
    faint = said("violence_threat", 0.3, "i will find you", 4.0, 6.0)
    assert finding(window(faint, sound("scream", 8, 9, 0.6)), "scream").action is Action.ALLOW


def test_a_rule_reaches_from_one_window_into_the_next() -> None:
    late = said("violence_threat", 0.6, "i will find you", 27.0, 29.0)
    windows = [window(late), window(sound("scream", 2, 3, 0.6), start_s=WINDOW_S)]
    assert finding(windows[1], "scream").action is Action.ALLOW
    assert finding(fold(windows, 2 * WINDOW_S), "scream").action is Action.ALLOW
    episode = finding(fold(windows, 2 * WINDOW_S, RULES.compositions), "scream")
    assert (episode.action, episode.severity) == (Action.REVIEW, Severity.HIGH)
    assert "beside violence_threat" in episode.reason


def test_music_of_the_next_window_reaches_back_too() -> None:
    windows = [window(sound("gunshot", 29, 30)), window(sound("music", 0, 30), start_s=WINDOW_S)]
    assert finding(fold(windows, 2 * WINDOW_S, RULES.compositions), "gunshot").action is Action.ALLOW


def test_a_verdict_carries_only_the_context_that_rules_speak_of() -> None:
    parts = (sound("music", 0, 30), sound("speech", 3, 9))
    windows = [window(*parts), window(*parts, start_s=WINDOW_S)]
    assert [(span.event, span.start_s, span.end_s) for span in windows[1].context_sounds] == [("music", 30.0, 60.0)]
    whole = fold(windows, 2 * WINDOW_S, RULES.compositions)
    assert [(span.event, span.start_s, span.end_s) for span in whole.context_sounds] == [("music", 0.0, 60.0)]


def test_a_rule_may_hold_for_some_content_types_only() -> None:
    rules = LIBRARY["default"].for_context(Context(content_type="audiobook"))
    assert "violence_threat" not in [rule.beside for rule in rules.compositions.rules]
    assert "music" in [rule.beside for rule in rules.compositions.rules]


def with_rules(*rules: dict[str, Any]) -> Rules:
    parsed = tuple(Composition.model_validate({"why": "so", "within_s": 30.0} | rule) for rule in rules)
    return replace(RULES, compositions=Compositions(parsed, Action.REVIEW))


RAISE = {"finding": "violence_threat", "beside": "scream", "at_least": {"severity": "critical", "action": "block"}}


def test_doubtful_text_is_not_raised_beyond_what_it_may_lead_to() -> None:
    rules = with_rules(RAISE)
    doubtful = said("violence_threat", 0.6, "i will find you", 4.0, 6.0, confident=False)
    assert finding(window(THREAT, sound("scream", 8, 9), rules=rules), "violence_threat").action is Action.BLOCK
    raised = finding(window(doubtful, sound("scream", 8, 9), rules=rules), "violence_threat")
    assert (raised.action, raised.severity) == (Action.REVIEW, Severity.CRITICAL)


@pytest.mark.parametrize("lower_first", [True, False])
def test_a_floor_wins_over_a_ceiling_in_any_order(lower_first: bool) -> None:
    lower = {"finding": "scream", "beside": "music", "at_most": {"action": "allow"}}
    lift = {"finding": "scream", "beside": "violence_threat", "at_least": {"action": "review"}}
    rules = with_rules(*((lower, lift) if lower_first else (lift, lower)))
    loud = window(THREAT, sound("scream", 8, 9, 0.6), sound("music", 0, 30), rules=rules)
    assert finding(loud, "scream").action is Action.REVIEW


names = st.sampled_from(["violence_threat", "hate", "scream", "gunshot"])
bounds = st.fixed_dictionaries(
    {"severity": st.sampled_from(["low", "medium", "critical"]), "action": st.sampled_from(list(Action))}
)


@st.composite
def compositions(draw: st.DrawFn) -> Compositions:
    rules = draw(
        st.lists(
            st.builds(
                lambda finding, beside, within_s, kind, bound: {
                    "why": f"{kind} {finding} by {within_s}; {bound['action']}",
                    "finding": finding,
                    "beside": beside,
                    "within_s": float(within_s),
                    kind: bound,
                },
                names,
                st.sampled_from(["violence_threat", "scream", "music", "speech"]),
                st.integers(0, 40),
                st.sampled_from(["at_least", "at_most"]),
                bounds,
            ).filter(lambda rule: rule["finding"] != rule["beside"]),
            max_size=4,
            unique_by=lambda rule: rule["why"],
        )
    )
    return Compositions(tuple(map(Composition.model_validate, rules)), Action.REVIEW)


def evidence_of(verdict: Verdict) -> Mapping[str, Sequence[Evidence]]:
    return {item.category: item.evidence for item in verdict.findings}


@given(rules=compositions(), parts=st.lists(st.tuples(texts, sounds), min_size=2, max_size=2))
def test_composing_windows_first_changes_nothing_in_the_episode(rules: Compositions, parts: list[Any]) -> None:
    plain = [
        shift(
            decide_window(
                found(transcript_of(text), text, acoustic, WINDOW_S),
                Context(),
                replace(RULES, compositions=Compositions()),
            ),
            at * WINDOW_S,
        )
        for at, (text, acoustic) in enumerate(parts)
    ]
    contexts = [
        [
            span.model_copy(update={"start_s": span.start_s + at * WINDOW_S, "end_s": span.end_s + at * WINDOW_S})
            for span in acoustic.spans
        ]
        for at, (_, acoustic) in enumerate(parts)
    ]

    def joined(windows: list[Mapping[str, Sequence[Evidence]]]) -> dict[str, list[Evidence]]:
        return {
            name: list(chain.from_iterable(w.get(name, ()) for w in windows))
            for name in sorted({n for w in windows for n in w})
        }

    everywhere = list(chain.from_iterable(contexts))
    at_once = rules.compose(joined([evidence_of(verdict) for verdict in plain]), everywhere)
    first = [rules.compose(evidence_of(verdict), context) for verdict, context in zip(plain, contexts, strict=True)]
    assert rules.compose(joined(first), everywhere) == at_once


@pytest.mark.parametrize(
    ("rule", "named"),
    [
        ({"at_least": {"action": "review"}, "at_most": {"action": "allow"}}, "either at_least"),
        ({}, "either at_least"),
        ({"at_least": {}}, "neither severity nor action"),
        ({"at_least": {"severity": "none"}}, "severity 'none'"),
        ({"finding": "music", "at_least": {"action": "review"}}, "'music' gives context"),
        ({"finding": "violence_threat", "at_least": {"action": "review"}}, "two different things"),
        ({"finding": "thunder", "at_least": {"action": "review"}}, "finding"),
        ({"within_s": -1.0, "at_least": {"action": "review"}}, "within_s"),
        ({"nearby": 3, "at_least": {"action": "review"}}, "unknown key 'nearby'"),
    ],
)
def test_a_faulty_rule_is_refused_by_file_and_key(tmp_path: Path, rule: dict[str, Any], named: str) -> None:
    data = yaml.safe_load((POLICIES / "default.yaml").read_text(encoding="utf-8"))
    data["compositions"] = [{"why": "so", "finding": "scream", "beside": "violence_threat", "within_s": 3.0} | rule]
    path = tmp_path / "default.yaml"
    path.write_text(yaml.safe_dump(data))
    with pytest.raises(PolicyError, match=rf"default.yaml.*compositions\[0\].*{named}"):
        load_pack(path)
