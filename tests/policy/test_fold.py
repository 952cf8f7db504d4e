from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from policy_findings import (
    WINDOW_S,
    found,
    heard,
    said,
    sounds,
    spans_s,
    text_findings,
    texts,
    transcript,
    transcript_of,
)

from aircheck.policy.decide import decide_window
from aircheck.policy.errors import PolicyError
from aircheck.policy.fold import fold, shift
from aircheck.policy.packs import PackLibrary
from aircheck.policy.reasons import MERGE_GAP_S
from aircheck.settings import ROOT
from aircheck_client.schema import Action, Context, EventSpan, Severity, TextFindings, Verdict

LIBRARY = PackLibrary(ROOT / "server_config" / "policies")
RULES = LIBRARY["default"].for_context(Context())
PAIR_S = 2 * WINDOW_S


def window(start_s: float, *items: object, language: str = "en") -> Verdict:
    """The verdict, in file time, on a window with this text and these sounds."""
    text = text_findings(*(item for item in items if not isinstance(item, EventSpan)))  # type: ignore[arg-type]
    acoustic = heard(*(item for item in items if isinstance(item, EventSpan)))
    return shift(
        decide_window(found(transcript_of(text, language), text, acoustic, WINDOW_S), Context(), RULES), start_s
    )


@st.composite
def episodes(draw: st.DrawFn) -> list[Verdict]:
    """Windows that follow one another, in file time."""
    count = draw(st.integers(1, 5))
    windows = []
    for position in range(count):
        text = draw(texts).model_copy(update={"languages": draw(st.sampled_from([(), ("en",)]))})
        speech = draw(st.none() | st.lists(spans_s, max_size=4).map(tuple))
        heard_text = transcript(
            *(part for item in text.sentences for part in item.segments),
            language=draw(st.sampled_from(["en", "sv"])),
            speech=speech,
            dropped=draw(st.integers(0, 2)),
        )
        verdict = decide_window(found(heard_text, text, draw(sounds), WINDOW_S), Context(), RULES)
        windows.append(shift(verdict, position * WINDOW_S))
    return windows


class TestShift:
    def test_moves_evidence_segments_and_reasons_to_file_time(self) -> None:
        moved = window(3600.0, said("hate", 0.9, "there", 11.0, 14.5))
        assert (moved.start_s, moved.end_s) == (3600.0, 3600.0 + WINDOW_S)
        (finding,) = moved.findings
        assert (finding.evidence[0].start_s, finding.evidence[0].end_s) == (3611.0, 3614.5)
        assert "at 1:00:11–1:00:14: “there”" in finding.reason
        assert "at 1:00:11–1:00:14" in moved.reason
        assert (moved.segments[0].start_s, moved.segments[0].end_s) == (3611.0, 3614.5)

    @given(windows=episodes(), first_s=st.integers(0, 99), then_s=st.integers(0, 99))
    def test_twice_is_the_same_as_once_by_the_sum(self, windows: list[Verdict], first_s: int, then_s: int) -> None:
        for item in windows:
            assert shift(shift(item, first_s), then_s) == shift(item, first_s + then_s)

    def test_by_nothing_changes_nothing(self) -> None:
        verdict = window(0.0, said("hate", 0.9), EventSpan(event="gunshot", start_s=1, end_s=2, score=0.9))
        assert shift(verdict, 0.0) == verdict

    def test_refuses_an_episode_and_a_time_before_the_file(self) -> None:
        with pytest.raises(PolicyError, match="scope 'episode'; shift windows"):
            shift(fold([window(0.0)], WINDOW_S), 5.0)
        with pytest.raises(PolicyError, match=r"-1\.0 s"):
            shift(window(0.0), -1.0)


class TestEvidenceOfOneCategory:
    def test_that_goes_on_across_a_cut_becomes_one_passage(self) -> None:
        verdict = fold(
            [window(0, said("hate", 0.6, "first", 28, 30)), window(30, said("hate", 0.9, "second", 0.5, 3))], PAIR_S
        )
        ((evidence,),) = (finding.evidence for finding in verdict.findings)
        assert (evidence.start_s, evidence.end_s, evidence.score, evidence.quote) == (28, 33, 0.9, "second")

    @pytest.mark.parametrize(("start_s", "passages"), [(29.0, 1), (29.01, 2)])
    def test_is_one_passage_up_to_a_gap_of_one_second(self, start_s: float, passages: int) -> None:
        assert MERGE_GAP_S == 1.0
        (finding,) = fold(
            [window(0, said("hate", 0.9, "a", 27, 28), said("hate", 0.9, "b", start_s, 29.5))], WINDOW_S
        ).findings
        assert len(finding.evidence) == passages
        assert ("2 places in all" in finding.reason) == (passages == 2)

    def test_heard_well_and_heard_badly_stays_apart(self) -> None:
        (finding,) = fold(
            [window(0, said("hate", 0.6, "clear", 0, 2), said("hate", 0.99, "mumbled", 2, 4, confident=False))],
            WINDOW_S,
        ).findings
        assert [(item.quote, item.score, item.low_confidence) for item in finding.evidence] == [
            ("clear", 0.6, False),
            ("mumbled", 0.99, True),
        ]
        assert finding.action is Action.REVIEW

    def test_stays_apart_from_that_of_another(self) -> None:
        verdict = fold([window(0, said("hate", 0.9, "a", 0, 2), said("sexual", 0.9, "b", 1, 3))], WINDOW_S)
        assert [len(finding.evidence) for finding in verdict.findings] == [1, 1]

    def test_that_decided_is_quoted_where_it_lies_however_long_the_passage_is(self) -> None:
        mild = [window(at, said("hate", 0.6, f"mild words {at} " * 5, 0, 30)) for at in range(0, 300, 30)]
        (finding,) = fold([*mild, window(300, said("hate", 0.97, "the grave ones", 4, 6))], 330).findings
        (evidence,) = [item for item in finding.evidence if item.score == 0.97]
        assert (evidence.quote, evidence.lead_start_s, evidence.lead_end_s) == ("the grave ones", 304, 306)
        assert finding.reason.startswith("hate 0.97 ≥ 0.85 at 05:04–05:06: “the grave ones” → high, block")


class TestEpisode:
    def test_takes_the_worst_of_its_windows_and_the_reason_that_decided(self) -> None:
        verdict = fold(
            [
                window(0, said("hate", 0.6, "mild", 1, 2)),
                window(30, said("hate", 0.95, "grave", 1, 2), said("profanity", 0.9, "oops", 9, 10)),
                window(60, EventSpan(event="gunshot", start_s=1, end_s=2, score=0.85)),
            ],
            90,
        )
        assert (verdict.scope, verdict.start_s, verdict.duration_s) == ("episode", 0.0, 90)
        assert (verdict.score, verdict.severity, verdict.action) == (0.95, Severity.HIGH, Action.BLOCK)
        assert [finding.category for finding in verdict.findings] == ["hate", "gunshot", "profanity"]
        assert verdict.findings[0].reason == (
            "hate 0.95 ≥ 0.85 at 00:31–00:32: “grave” → high, block (default v4), 2 places in all"
        )
        assert verdict.reason.startswith("block: hate (high, 0.95) at 00:31–00:32; also gunshot")

    def test_keeps_the_whole_transcript_in_order_and_the_language_of_most_of_it(self) -> None:
        verdict = fold(
            [
                window(30, said("hate", 0.1, "b", 0, 5), language="sv"),
                window(60, said("hate", 0.1, "c", 0, 5), language="sv"),
                window(0, said("hate", 0.1, "a", 0, 9), language="en"),
            ],
            90,
        )
        assert [(item.text, item.language) for item in verdict.segments] == [("a", "en"), ("b", "sv"), ("c", "sv")]
        assert verdict.language == "sv"

    def test_has_no_language_from_windows_without_words(self) -> None:
        silent = decide_window(
            found(transcript(detected=("cy", 0.4)), text_findings(), heard(), WINDOW_S), Context(), RULES
        )
        assert fold([silent, window(30, said("hate", 0.1))], PAIR_S).language == "en"
        assert fold([silent], WINDOW_S).language == ""

    def test_without_findings_says_so(self) -> None:
        verdict = fold([window(0), window(30)], PAIR_S)
        assert (verdict.action, verdict.severity, verdict.reason) == (
            Action.ALLOW,
            Severity.NONE,
            "nothing found (default v4)",
        )

    def test_needs_windows_made_under_one_set_of_terms(self) -> None:
        with pytest.raises(PolicyError, match="at least one window"):
            fold([], 0.0)
        strict = LIBRARY["strict"].for_context(Context())
        other = decide_window(found(transcript(), text_findings(), heard(), WINDOW_S), Context(), strict)
        with pytest.raises(PolicyError, match=r"different terms: default v4.*strict v4"):
            fold([window(0), other], PAIR_S)
        newer = TextFindings(model="text-model", model_version="8")
        other = decide_window(found(transcript(), newer, heard(), WINDOW_S), Context(), RULES)
        with pytest.raises(PolicyError, match="different terms: .*text-model 7.*text-model 8"):
            fold([window(0), other], PAIR_S)

    @given(windows=episodes(), data=st.data())
    def test_does_not_depend_on_the_order_of_its_windows(self, windows: list[Verdict], data: st.DataObject) -> None:
        shuffled = data.draw(st.permutations(windows))
        assert fold(shuffled, 999) == fold(windows, 999)

    @given(windows=episodes(), data=st.data())
    def test_folded_in_parts_is_the_same_as_folded_at_once(self, windows: list[Verdict], data: st.DataObject) -> None:
        cut = data.draw(st.integers(0, len(windows)))
        parts = [fold(part, cut * WINDOW_S) for part in (windows[:cut], windows[cut:]) if part]
        assert fold(parts, 999) == fold(windows, 999)

    @given(windows=episodes())
    def test_is_as_severe_as_its_most_severe_window_and_loses_no_category(self, windows: list[Verdict]) -> None:
        verdict = fold(windows, 999)
        assert verdict.action == max(item.action for item in windows)
        assert verdict.severity == max(item.severity for item in windows)
        assert verdict.score == max(item.score for item in windows)
        assert {finding.category for finding in verdict.findings} == {
            finding.category for item in windows for finding in item.findings
        }

    @given(windows=episodes())
    def test_evidence_covers_every_moment_that_the_windows_named(self, windows: list[Verdict]) -> None:
        folded = {finding.category: finding.evidence for finding in fold(windows, 999).findings}
        for item in windows:
            for finding in item.findings:
                for part in finding.evidence:
                    assert any(
                        whole.start_s <= part.start_s and part.end_s <= whole.end_s and whole.score >= part.score
                        for whole in folded[finding.category]
                    )
