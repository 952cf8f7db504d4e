from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from policy_findings import (
    WINDOW_S,
    found,
    heard,
    said,
    scores,
    segment,
    sentence,
    sounds,
    text_findings,
    texts,
    transcript_of,
)

from aircheck.policy.decide import decide_window
from aircheck.policy.errors import PolicyError
from aircheck.policy.packs import Level, PackLibrary, PolicyPack
from aircheck.policy.reasons import MAX_QUOTE_CHARS
from aircheck.policy.taxonomy import CONTEXT_EVENTS, HARM_EVENTS, Category, Event
from aircheck.settings import ROOT
from aircheck_client.schema import (
    AcousticFindings,
    Action,
    Attribution,
    Context,
    EventSpan,
    Finding,
    ModelVersion,
    SentenceScores,
    Severity,
    TextFindings,
    Verdict,
)

LIBRARY = PackLibrary(ROOT / "server_config" / "policies")
PODCAST = Context()

packs = st.sampled_from([LIBRARY[name] for name in LIBRARY.names])
contexts = st.builds(
    Context, content_type=st.sampled_from(["podcast", "audiobook", "clip"]), market=st.sampled_from(["*", "SE", "DE"])
)


def decide(
    text: TextFindings | None = None,
    acoustic: AcousticFindings | None = None,
    *,
    context: Context = PODCAST,
    pack: PolicyPack = LIBRARY["default"],
) -> Verdict:
    rules = pack.for_context(context)
    findings = text or text_findings()
    return decide_window(found(transcript_of(findings), findings, acoustic or heard(), WINDOW_S), context, rules)


def only(verdict: Verdict) -> Finding:
    (finding,) = verdict.findings
    return finding


class TestCleanWindow:
    def test_is_allowed_and_says_that_nothing_was_found(self) -> None:
        verdict = decide(text_findings(said("hate", 0.49)))
        assert (verdict.score, verdict.severity, verdict.action, verdict.findings) == (
            0.0,
            Severity.NONE,
            Action.ALLOW,
            (),
        )
        assert verdict.reason == "nothing found (default v4)"

    def test_still_carries_its_transcript_language_context_and_pack(self) -> None:
        context = Context(content_type="clip", market="SE")
        verdict = decide(text_findings(said("hate", 0.1, "good morning")), context=context)
        assert [(item.text, item.language) for item in verdict.segments] == [("good morning", "en")]
        assert (verdict.scope, verdict.start_s, verdict.duration_s, verdict.language) == ("window", 0.0, WINDOW_S, "en")
        assert (verdict.context, verdict.policy_pack, verdict.policy_version) == (context, "default", "4")


class TestTextFinding:
    def test_says_what_where_how_sure_and_what_follows(self) -> None:
        finding = only(decide(text_findings(said("violence_threat", 0.93, " i am going to kill you", 11.0, 14.5))))
        assert finding.reason == (
            "violence_threat 0.93 ≥ 0.85 at 00:11–00:14: “i am going to kill you” → high, block (default v4)"
        )
        assert (finding.category, finding.score, finding.severity, finding.action) == (
            "violence_threat",
            0.93,
            Severity.HIGH,
            Action.BLOCK,
        )

    def test_rests_on_evidence_with_quote_times_and_model(self) -> None:
        (evidence,) = only(decide(text_findings(said("hate", 0.6, " quoted ", 1.0, 3.0)))).evidence
        assert (evidence.start_s, evidence.end_s, evidence.modality, evidence.quote) == (1.0, 3.0, "text", "quoted")
        assert (evidence.score, evidence.low_confidence, evidence.event) == (0.6, False, None)
        assert (evidence.model, evidence.model_version) == ("text-model", "7")

    def test_has_the_highest_score_and_all_the_evidence_in_order_of_time(self) -> None:
        finding = only(
            decide(
                text_findings(
                    said("hate", 0.6, "b", 9.0, 10.0),
                    said("hate", 0.9, "a", 4.0, 5.0),
                    said("hate", 0.3, "not enough", 20.0, 21.0),
                )
            )
        )
        assert finding.score == 0.9
        assert [item.quote for item in finding.evidence] == ["a", "b"]
        assert "“a”" in finding.reason
        assert finding.reason.endswith("2 places in all")

    def test_quotes_at_most_300_characters(self) -> None:
        (evidence,) = only(decide(text_findings(said("hate", 0.6, "word " * 200)))).evidence
        assert evidence.quote is not None
        assert len(evidence.quote) == MAX_QUOTE_CHARS == 300
        assert evidence.quote.endswith("…")

    def test_never_points_beyond_the_window(self) -> None:
        (evidence,) = only(decide(text_findings(said("hate", 0.6, "late", 29.0, 31.0)))).evidence
        assert evidence.end_s == WINDOW_S

    def test_quotes_the_sentence_that_decided_and_not_the_segment(self) -> None:
        whole = segment("The bus is late. I will kill you. See you soon.", 0.0, 9.0)
        scored = [("The bus is late.", 0, 3, 0.1), ("I will kill you.", 3, 6, 0.9), ("See you soon.", 6, 9, 0.1)]
        items = [
            SentenceScores(text=text, start_s=a, end_s=b, segments=(whole,), scores={"violence_threat": score})
            for text, a, b, score in scored
        ]
        (evidence,) = only(decide(text_findings(*items))).evidence
        assert (evidence.quote, evidence.start_s, evidence.end_s) == ("I will kill you.", 3.0, 6.0)

    def test_a_sentence_is_doubtful_when_any_of_its_segments_is(self) -> None:
        parts = (segment("I will", 0.0, 2.0), segment("kill you.", 2.0, 4.0, confident=False))
        item = SentenceScores(text="I will kill you.", start_s=0, end_s=4, segments=parts, scores={"hate": 0.99})
        (evidence,) = only(decide(text_findings(item))).evidence
        assert evidence.low_confidence

    def test_one_segment_may_break_several_rules(self) -> None:
        both = sentence(segment("both"), {"hate": 0.9, "profanity": 0.8, "sexual": 0.1})
        assert [finding.category for finding in decide(text_findings(both)).findings] == ["hate", "profanity"]

    def test_a_score_below_a_level_never_reads_as_if_it_had_reached_it(self) -> None:
        finding = only(decide(text_findings(said("violence_threat", 0.8499))))
        assert "0.84 ≥ 0.50" in finding.reason

    @pytest.mark.parametrize(("threshold", "shown"), [(0.855, "0.858 ≥ 0.855"), (0.8, "0.85 ≥ 0.80")])
    def test_score_and_threshold_are_shown_to_one_precision(self, threshold: float, shown: str) -> None:
        pack = LIBRARY["default"]
        levels = (Level(score=threshold, severity=Severity.HIGH, action=Action.BLOCK),)
        changed = pack.model_copy(update={"categories": {**pack.categories, Category.HATE: levels}})
        assert shown in only(decide(text_findings(said("hate", 0.8589)), pack=changed)).reason

    def test_a_score_that_somebody_else_gave_is_told_with_its_ground(self) -> None:
        given = Attribution(model="swear-words", model_version="4", note="swear word f*** (strong)")
        item = said("profanity", 0.9).model_copy(update={"attributions": {"profanity": given}})
        lists = ModelVersion(role="profanity", name="swear-words", version="4")
        text = text_findings(item).model_copy(update={"word_lists": lists, "languages": ("sv",)})
        verdict = decide(text)
        (finding,) = verdict.findings
        (evidence,) = finding.evidence
        assert "[swear word f*** (strong)]" in finding.reason
        assert (evidence.model, evidence.model_version) == ("swear-words", "4")
        assert not evidence.low_confidence  # the list covers the language, whatever the classifier does
        assert lists in verdict.models

    def test_an_override_is_named_in_the_reason(self) -> None:
        text = text_findings(said("violence_threat", 0.9))
        finding = only(decide(text, context=Context(content_type="audiobook")))
        assert finding.action is Action.LABEL_EXPLICIT
        assert "override: audiobooks are mostly fiction" in finding.reason


class TestSound:
    def test_makes_a_finding_under_the_events_name(self) -> None:
        finding = only(decide(acoustic=heard(EventSpan(event="gunshot", start_s=3, end_s=4, score=0.9))))
        assert finding.reason == "gunshot 0.90 ≥ 0.80 at 00:03–00:04 (sound) → low, review (default v4)"
        (evidence,) = finding.evidence
        assert (evidence.modality, evidence.event, evidence.quote) == ("acoustic", "gunshot", None)
        assert (evidence.model, evidence.model_version) == ("sound-model", "3")

    @pytest.mark.parametrize("event", sorted(CONTEXT_EVENTS))
    def test_that_only_gives_context_never_makes_a_finding(self, event: Event) -> None:
        assert decide(acoustic=heard(EventSpan(event=event, start_s=0, end_s=9, score=1.0))).findings == ()


@pytest.mark.parametrize(
    ("text", "acoustic", "words"),
    [
        (text_findings(said("spam", 0.1)), heard(), "'text-model' gave a score for 'spam'.*hate, harassment"),
        (text_findings(), heard(EventSpan(event="bark", start_s=0, end_s=1, score=0.1)), "'sound-model'.*'bark'"),
    ],
)
def test_a_name_outside_the_taxonomy_is_an_error_that_names_the_model(
    text: TextFindings, acoustic: AcousticFindings, words: str
) -> None:
    with pytest.raises(PolicyError, match=words):
        decide(text, acoustic)


def test_a_category_heard_in_a_voice_is_rated_as_the_category_and_joins_what_was_said() -> None:
    shouted = EventSpan(event="harassment", start_s=3.0, end_s=6.0, score=0.95)
    finding = only(decide(acoustic=heard(shouted)))
    assert (finding.category, finding.evidence[0].modality, finding.evidence[0].event) == (
        "harassment",
        "acoustic",
        None,
    )
    level = LIBRARY["default"].for_context(PODCAST).categories[Category.HARASSMENT].level_for(0.95)
    assert level is not None
    assert (finding.evidence[0].threshold, finding.action) == (level.score, level.action)
    both = only(decide(text_findings(said("harassment", 0.9)), heard(shouted)))
    assert {item.modality for item in both.evidence} == {"text", "acoustic"}


def test_the_most_severe_finding_comes_first_and_the_summary_names_them_all() -> None:
    verdict = decide(
        text_findings(said("profanity", 1.0, start_s=1, end_s=2), said("hate", 0.9, start_s=5, end_s=6)),
        heard(EventSpan(event="siren", start_s=0, end_s=9, score=0.9)),
    )
    assert [finding.category for finding in verdict.findings] == ["hate", "profanity", "siren"]
    assert verdict.reason == (
        "block: hate (high, 0.90) at 00:05–00:06; also profanity (low, label_explicit), siren (low, allow) (default v4)"
    )
    assert (verdict.score, verdict.severity, verdict.action) == (1.0, Severity.HIGH, Action.BLOCK)


class TestLowConfidenceText:
    def test_by_itself_is_capped_flagged_and_explained(self) -> None:
        finding = only(decide(text_findings(said("hate", 0.95, confident=False))))
        assert (finding.severity, finding.action) == (Severity.HIGH, Action.REVIEW)
        assert finding.evidence[0].low_confidence
        assert "low-confidence transcript: average log-probability -1.50 < -1" in finding.reason
        assert "by itself it leads to review, not block" in finding.reason

    def test_keeps_an_action_milder_than_the_cap(self) -> None:
        finding = only(decide(text_findings(said("profanity", 0.95, confident=False))))
        assert finding.action is Action.LABEL_EXPLICIT
        assert "by itself" not in finding.reason

    def test_does_not_weaken_text_that_was_heard_well(self) -> None:
        finding = only(
            decide(
                text_findings(said("hate", 0.99, "mumbled", 1, 2, confident=False), said("hate", 0.86, "clear", 10, 11))
            )
        )
        assert finding.action is Action.BLOCK
        assert finding.score == 0.99
        assert finding.reason.startswith("hate 0.86 ≥ 0.85 at 00:10–00:11: “clear” →")

    def test_does_not_lend_its_score_to_text_that_was_heard_well(self) -> None:
        finding = only(decide(text_findings(said("hate", 0.99, confident=False), said("hate", 0.6, "clear", 10, 11))))
        assert finding.action is Action.REVIEW

    @given(text=texts, acoustic=sounds, context=contexts, pack=packs)
    def test_never_blocks_whatever_else_is_heard(
        self, text: TextFindings, acoustic: AcousticFindings, context: Context, pack: PolicyPack
    ) -> None:
        doubtful = text.model_copy(
            update={
                "sentences": tuple(
                    item.model_copy(
                        update={"segments": tuple(s.model_copy(update={"avg_logprob": -3.0}) for s in item.segments)}
                    )
                    for item in text.sentences
                )
            }
        )
        assert decide(doubtful, acoustic, context=context, pack=pack).action < Action.BLOCK


@given(category=st.sampled_from(Category), pair=st.tuples(scores, scores), confident=st.booleans(), data=st.data())
def test_raising_a_text_score_never_makes_the_verdict_milder(
    category: Category, pair: tuple[float, float], confident: bool, data: st.DataObject
) -> None:
    pack, context = data.draw(packs), data.draw(contexts)
    others = data.draw(texts)
    low, high = (
        decide(text_findings(*others.sentences, said(category, score, confident=confident)), context=context, pack=pack)
        for score in sorted(pair)
    )
    assert low.action <= high.action
    assert low.severity <= high.severity
    assert low.score <= high.score


@given(event=st.sampled_from(HARM_EVENTS), pair=st.tuples(scores, scores), context=contexts, pack=packs)
def test_raising_a_sounds_score_never_makes_the_verdict_milder(
    event: Event, pair: tuple[float, float], context: Context, pack: PolicyPack
) -> None:
    low, high = (
        decide(acoustic=heard(EventSpan(event=event, start_s=0, end_s=1, score=score)), context=context, pack=pack)
        for score in sorted(pair)
    )
    assert (low.action, low.severity) <= (high.action, high.severity)


@given(text=texts, acoustic=sounds, context=contexts, pack=packs)
def test_a_verdict_is_the_worst_of_its_findings_and_each_finding_of_its_evidence(
    text: TextFindings, acoustic: AcousticFindings, context: Context, pack: PolicyPack
) -> None:
    verdict = decide(text, acoustic, context=context, pack=pack)
    assert verdict == Verdict.model_validate_json(verdict.model_dump_json())
    if verdict.findings:
        assert verdict.action == max(item.action for item in (*verdict.findings, *verdict.unchecked))
        assert verdict.severity == max(finding.severity for finding in verdict.findings)
    for finding in verdict.findings:
        assert finding.score == max(item.score for item in finding.evidence)
        assert finding.action == max(item.action for item in finding.evidence)
        assert finding.severity == max(item.severity for item in finding.evidence)
        assert f"→ {finding.severity}, {finding.action} (" in finding.reason
        assert all(item.score >= item.threshold for item in finding.evidence)


@given(text=texts, acoustic=sounds)
def test_the_order_of_the_findings_given_does_not_matter(text: TextFindings, acoustic: AcousticFindings) -> None:
    forwards = decide(text, acoustic)
    backwards = decide(
        text.model_copy(update={"sentences": text.sentences[::-1]}),
        acoustic.model_copy(update={"spans": acoustic.spans[::-1]}),
    )
    assert backwards.model_copy(update={"segments": forwards.segments}) == forwards
