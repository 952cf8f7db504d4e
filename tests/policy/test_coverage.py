"""What could not be checked: counted, told, and never passed as clean."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from policy_findings import WINDOW_S, found, heard, said, segment, text_findings, transcript, transcript_of
from whisper.tokenizer import LANGUAGES

from aircheck.inference.text_safety.embedded import HEAD
from aircheck.inference.text_safety.head import load_heads
from aircheck.policy.coverage import SLACK_S, SURE_PROBABILITY
from aircheck.policy.decide import decide_window
from aircheck.policy.fold import add_undecoded, fold, shift
from aircheck.policy.packs import CoverageRules, GapRule, PackLibrary, WindowGapRule
from aircheck.settings import ROOT
from aircheck_client.schema import Action, Context, Coverage, Severity, TextFindings, Transcript, Verdict

RULES = PackLibrary(ROOT / "server_config" / "policies")["default"].for_context(Context())
ENGLISH = text_findings().model_copy(update={"languages": ("en",)})


def decide(spoken: Transcript, text: TextFindings = ENGLISH, **kwargs: Any) -> Verdict:
    return decide_window(found(spoken, text, heard(), WINDOW_S, **kwargs), Context(), RULES)


class TestSpeechWithoutText:
    def test_is_counted_and_reviewed_where_it_lies(self) -> None:
        verdict = decide(transcript(segment("hello", 0.0, 2.0), speech=((0.0, 10.0), (20.0, 23.0)), dropped=2))
        assert verdict.coverage == Coverage(
            speech_s=13.0, transcribed_s=2.0 + SLACK_S, unread_s=11.0 - SLACK_S, dropped_segments=2
        )
        (gap,) = verdict.unchecked
        assert (gap.kind, gap.start_s, gap.end_s, gap.seconds) == ("untranscribed", 2.0 + SLACK_S, 23.0, 10.7)
        assert (verdict.action, verdict.severity, verdict.score) == (Action.REVIEW, Severity.NONE, 0.0)
        assert verdict.reason == "review: 10.7 s of speech could not be transcribed at 00:02–00:23 (default v4)"

    def test_of_a_whole_window_is_never_clean(self) -> None:
        verdict = decide(transcript(speech=((1.0, 3.0),)))
        assert verdict.action is Action.REVIEW
        assert (verdict.coverage.speech_s, verdict.coverage.transcribed_s) == (2.0, 0.0)

    def test_at_the_ends_of_segments_is_a_difference_of_measurement(self) -> None:
        pieces = [segment("a", at + SLACK_S, at + 3.0 - SLACK_S) for at in range(0, 30, 3)]
        verdict = decide(transcript(*pieces, speech=((0.0, 30.0),)))
        assert (verdict.coverage.unread_s, verdict.action) == (0.0, Action.ALLOW)

    def test_is_tolerated_up_to_the_packs_limit(self) -> None:
        limit_s = RULES.coverage.untranscribed.tolerated_s
        assert decide(transcript(speech=((1.0, 1.0 + limit_s),))).action is Action.ALLOW
        assert decide(transcript(speech=((1.0, 1.01 + limit_s),))).action is Action.REVIEW

    @pytest.mark.parametrize("duration_s", [0.4, 1.4, 4.9])
    def test_of_a_short_clip_is_tolerated_up_to_a_share_of_it(self, duration_s: float) -> None:
        rule = RULES.coverage.untranscribed
        limit_s = rule.tolerated_share * duration_s
        assert limit_s < rule.tolerated_s

        def decided(speech_s: float) -> Action:
            spoken = transcript(speech=((0.0, speech_s),))
            return decide_window(found(spoken, ENGLISH, heard(), duration_s), Context(), RULES).action

        assert decided(limit_s - 0.01) is Action.ALLOW
        assert decided(limit_s + 0.01) is Action.REVIEW
        assert decided(duration_s) is Action.REVIEW

    def test_beyond_the_window_does_not_count(self) -> None:
        verdict = decide(transcript(segment("hello", 0, 99), speech=((20.0, 99.0),)))
        assert (verdict.coverage.speech_s, verdict.coverage.unread_s) == (10.0, 0.0)

    def test_follows_a_worse_finding_in_the_reason(self) -> None:
        text = text_findings(said("hate", 0.9, "there", 1, 2))
        verdict = decide(transcript(segment("there", 1, 2), speech=((1.0, 9.0),)), text)
        assert verdict.action is Action.BLOCK
        assert verdict.reason == (
            "block: hate (high, 0.90) at 00:01–00:02; 6.7 s of speech could not be transcribed at 00:02–00:09 (review)"
            " (default v4)"
        )

    def test_leads_a_milder_finding_in_the_reason(self) -> None:
        text = text_findings(said("profanity", 0.9, "oops", 1, 2))
        verdict = decide(transcript(segment("oops", 1, 2), speech=((1.0, 9.0),)), text)
        assert verdict.action is Action.REVIEW
        assert verdict.reason.startswith("review: 6.7 s of speech could not be transcribed at 00:02–00:09; also profan")

    def test_leads_to_what_the_pack_says(self) -> None:
        rules = CoverageRules(
            undecoded=GapRule(tolerated_s=0.0, action=Action.BLOCK),
            untranscribed=WindowGapRule(tolerated_s=3.0, action=Action.LIMIT),
            unclassified=GapRule(tolerated_s=0.0, action=Action.ALLOW),
        )
        other = decide_window(
            found(transcript(speech=((0.0, 4.0),)), ENGLISH, heard(), WINDOW_S),
            Context(),
            replace(RULES, coverage=rules),
        )
        assert other.action is Action.LIMIT


class TestLanguageThatNoClassifierKnows:
    GERMAN = transcript(segment("ich finde dich", 1.0, 4.0), language="de")

    def test_is_reviewed_with_a_warning(self) -> None:
        verdict = decide(self.GERMAN)
        assert verdict.action is Action.REVIEW
        (gap,) = verdict.unchecked
        assert (gap.kind, gap.language, gap.start_s, gap.end_s, gap.seconds) == ("unclassified", "de", 1.0, 4.0, 3.0)
        assert verdict.coverage.unclassified_s == 3.0
        assert "3.0 s of speech in 'de', which the text classifier does not cover" in verdict.reason
        (warning,) = verdict.warnings
        assert "'de'" in warning
        assert "text-model covers en only" in warning

    def test_is_each_that_whisper_knows_and_the_shipped_head_does_not(self) -> None:
        _, card = load_heads(HEAD)
        shipped = text_findings().model_copy(update={"languages": card.languages})
        unread, known = {}, {}
        for language in LANGUAGES:
            verdict = decide(transcript(segment("hello", 1.0, 4.0), language=language), shipped)
            of = known if language in card.languages else unread
            of[language] = (verdict.action, [(gap.kind, gap.language, gap.seconds) for gap in verdict.unchecked])
        assert unread == {name: (Action.REVIEW, [("unclassified", name, 3.0)]) for name in unread}
        assert known == dict.fromkeys(card.languages, (Action.ALLOW, []))
        assert len(unread) > 80

    def test_is_found_by_segment(self) -> None:
        mixed = transcript(segment("hello", 0, 2), segment("hallo", 2, 5).model_copy(update={"language": "de"}))
        verdict = decide(mixed)
        assert [(item.language, item.seconds) for item in verdict.unchecked] == [("de", 3.0)]
        assert [item.language for item in verdict.segments] == ["en", "de"]

    def test_is_none_of_those_it_declares(self) -> None:
        both = ENGLISH.model_copy(update={"languages": ("en", "de")})
        for known in (both, text_findings()):
            verdict = decide(self.GERMAN, known)
            assert (verdict.action, verdict.warnings, verdict.coverage.unclassified_s) == (Action.ALLOW, (), 0.0)

    def test_never_blocks_by_a_score_that_means_little(self) -> None:
        text = text_findings(said("hate", 0.99, "hallo")).model_copy(update={"languages": ("en",)})
        verdict = decide(transcript_of(text, "de"), text)
        (finding,) = verdict.findings
        assert (verdict.action, finding.evidence[0].low_confidence) == (Action.REVIEW, True)
        assert "language 'de', which the classifier does not cover" in finding.reason

    def test_is_one_stretch_over_a_whole_episode_and_one_warning(self) -> None:
        windows = [shift(decide(self.GERMAN), start_s) for start_s in (0, 30, 60)]
        verdict = fold(windows, 90)
        (gap,) = verdict.unchecked
        assert (gap.start_s, gap.end_s, gap.seconds) == (1.0, 64.0, 9.0)
        assert len(verdict.warnings) == 1


class TestLanguageThatIsNotSure:
    WORDS = segment("ik vind je wel", 1.0, 4.0)

    @pytest.mark.parametrize(
        ("language", "detected"),
        [
            ("en", ("en", SURE_PROBABILITY - 0.01)),
            ("", ("", 0.0)),  # nothing was detected
        ],
    )
    def test_is_reviewed_with_a_warning(self, language: str, detected: tuple[str, float]) -> None:
        verdict = decide(transcript(self.WORDS, language=language, detected=detected))
        assert verdict.action is Action.REVIEW
        (gap,) = verdict.unchecked
        assert (gap.kind, gap.language, gap.seconds) == ("unclassified", "", 3.0)
        assert verdict.coverage.unclassified_s == 3.0
        assert "3.0 s of speech in a language that is not sure at 00:01–00:04" in verdict.reason
        (warning,) = verdict.warnings
        assert "a language that is not sure" in warning

    @pytest.mark.parametrize(
        "detected",
        [
            ("en", SURE_PROBABILITY),
            ("nl", SURE_PROBABILITY - 0.01),  # the language was asked for, or that of the episode
        ],
    )
    def test_is_none_that_was_detected_or_asked_for(self, detected: tuple[str, float]) -> None:
        verdict = decide(transcript(self.WORDS, language="en", detected=detected))
        assert (verdict.action, verdict.unchecked, verdict.warnings) == (Action.ALLOW, (), ())

    def test_is_none_that_the_settings_fix(self) -> None:
        spoken = transcript(self.WORDS, language="en", detected=("en", 0.1))
        verdict = decide(spoken, language="en")
        assert (verdict.action, verdict.unchecked, verdict.warnings) == (Action.ALLOW, (), ())
        assert (verdict.detected_language, verdict.detected_probability) == ("en", 0.1)

    def test_never_blocks_by_a_score_that_means_little(self) -> None:
        text = text_findings(said("hate", 0.99)).model_copy(update={"languages": ("en",)})
        spoken = transcript_of(text).model_copy(update={"detected_probability": SURE_PROBABILITY - 0.01})
        verdict = decide(spoken, text)
        (finding,) = verdict.findings
        assert (verdict.action, finding.evidence[0].low_confidence) == (Action.REVIEW, True)
        assert "language not sure" in finding.reason

    def test_does_not_matter_to_a_classifier_of_any_language(self) -> None:
        verdict = decide(transcript(self.WORDS, language="en", detected=("en", 0.1)), text_findings())
        assert (verdict.action, verdict.unchecked) == (Action.ALLOW, ())


class TestWhatCouldNotBeDecoded:
    EPISODE = fold([decide(transcript(segment("hello", 0, 2)))], WINDOW_S)

    def test_is_counted_and_reviewed(self) -> None:
        verdict = add_undecoded(self.EPISODE, 4.0, RULES.coverage)
        assert verdict.coverage == self.EPISODE.coverage + Coverage(unread_s=4.0, undecoded_s=4.0)
        assert verdict.coverage.untranscribed_s == 0.0
        assert (verdict.action, verdict.scope) == (Action.REVIEW, "episode")
        assert verdict.reason == "review: 4.0 s of audio could not be decoded at 00:00–00:30 (default v4)"

    def test_changes_nothing_when_there_is_none(self) -> None:
        assert add_undecoded(self.EPISODE, 0.0, RULES.coverage) == self.EPISODE


def test_a_clean_verdict_names_its_models_pack_and_server() -> None:
    verdict = decide(transcript())
    assert [(item.role, item.name, item.version) for item in verdict.models if item.role != "speech_activity"] == [
        ("acoustic_safety", "sound-model", "3"),
        ("transcription", "ear", "9"),
        ("text_safety", "text-model", "7"),
    ]
    assert verdict.models[0].name == "silero-vad"
    assert len(verdict.policy_sha256) == 64
    assert verdict.server_version
    again = shift(verdict, 30)
    assert (again.models, again.policy_sha256) == (verdict.models, verdict.policy_sha256)


def test_warnings_of_the_decoder_are_kept_and_folded_once() -> None:
    verdict = decide(transcript(), warnings=("track 2 was not checked",))
    assert verdict.warnings == ("track 2 was not checked",)
    assert fold([verdict, shift(verdict, 30)], 60).warnings == verdict.warnings
