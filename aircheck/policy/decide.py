"""From findings to verdicts: a pack's rules applied to what the classifiers found in one window."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from typing import TypeVar

from aircheck.policy import coverage, provenance, reasons
from aircheck.policy.assemble import Parts, Terms, assemble
from aircheck.policy.errors import PolicyError
from aircheck.policy.judge import Review
from aircheck.policy.packs import Rules
from aircheck.policy.taxonomy import CONTEXT_EVENTS, Category, Event
from aircheck_client.schema import (
    AcousticFindings,
    Action,
    Context,
    EventSpan,
    Evidence,
    SentenceScores,
    Severity,
    TextFindings,
    Transcript,
    Verdict,
    WindowFindings,
)

_Name = TypeVar("_Name", Category, Event)
_CATEGORIES = frozenset(category.value for category in Category)


def decide_window(window: WindowFindings, context: Context, rules: Rules, review: Review | None = None) -> Verdict:
    """The verdict on one window; times count from the window's start, wherever in a recording that is.

    Args and errors are those of `window_parts`.
    """
    detected = {name: getattr(window.transcript, name) for name in ("detected_language", "detected_probability")}
    return assemble(window_parts(window, context, rules, review)).model_copy(update=detected)


def window_parts(window: WindowFindings, context: Context, rules: Rules, review: Review | None = None) -> Parts:
    """What the verdict on one window is assembled from; times count from the window's start.

    Args:
        rules: `pack.for_context(context)`.
        review: what a policy judge made of the window's text under `rules`, where there is one.

    Raises:
        PolicyError: a classifier speaks of a category or an event that the taxonomy does not have.
    """
    transcript, text, acoustic = window.transcript, window.text_findings, window.acoustic_findings
    duration_s = window.duration_s
    if window.language:  # which no detection puts in doubt
        transcript = transcript.model_copy(update={"detected_language": ""})
    context_sounds = _context_sounds(acoustic, duration_s, rules)
    evidence = _text_evidence(transcript, text, duration_s, rules, review)
    for name, heard in _acoustic_evidence(acoustic, duration_s, rules).items():
        evidence[name].extend(heard)
    covered, unchecked = coverage.measure(transcript, duration_s, text.languages, rules.coverage)
    doubtful = coverage.language_warnings(transcript, text)
    return Parts(
        rules.compositions.compose(evidence, context_sounds),
        scope="window",
        start_s=0.0,
        duration_s=duration_s,
        coverage=covered,
        unchecked=unchecked,
        segments=coverage.with_languages(transcript),
        context_sounds=context_sounds,
        warnings=(*window.warnings, *doubtful, *(review.warnings if review else ())),
        terms=Terms(
            context=context,
            policy_pack=rules.pack,
            policy_version=rules.version,
            policy_sha256=rules.sha256,
            server_version=provenance.server_version(),
            models=provenance.models(transcript, text, acoustic, review.judge if review else None),
        ),
    )


def _text_evidence(
    transcript: Transcript, text: TextFindings, duration_s: float, rules: Rules, review: Review | None
) -> dict[str, list[Evidence]]:
    found: dict[str, list[Evidence]] = defaultdict(list)
    least = rules.least_scores
    for at, item in enumerate(text.sentences):
        names: Iterable[str] = item.scores
        if review is None:  # else it may lift what is below all levels; what is not in the taxonomy is told below
            names = [name for name, score in item.scores.items() if score >= least.get(name, 0.0)]
            if not names:
                continue
        unsure = tuple(dict.fromkeys(doubt for part in item.segments for doubt in rules.low_confidence.doubts(part)))
        language = coverage.sure_language(item.segments[0], transcript)
        foreign: tuple[str, ...] = ()
        if text.languages and language not in text.languages:
            foreign = (
                f"language {language!r}, which the classifier does not cover" if language else "language not sure",
            )
        for name in names:
            category = _known(name, Category, text.model)
            doubts = unsure if name in item.attributions else unsure + foreign
            evidence = _sentence_evidence(item, category, doubts, text, rules, review, at)
            if evidence:
                found[category].append(_within(evidence, duration_s))
    return found


def _sentence_evidence(
    item: SentenceScores,
    category: Category,
    doubts: tuple[str, ...],
    text: TextFindings,
    rules: Rules,
    review: Review | None,
    at: int,
) -> Evidence | None:
    """What the sentence `at` says for a category; None where no level is reached and no judge lifts it to one."""
    answer = review.answers.get((at, category)) if review else None
    rule, given, scored = rules.categories[category], item.attributions.get(category), item.scores[category]
    score = max(scored, rule.levels[0].score) if answer and answer.violates else scored
    level = rule.level_for(score)
    if level is None:
        return None
    severity, decided = level.severity, level.action
    if answer and not answer.violates:
        severity, decided = Severity.LOW, Action.ALLOW
    action = min(decided, rules.low_confidence.highest_action) if doubts else decided
    notes = [given.note] if given else []
    if doubts:
        capped = f"; by itself it leads to {action}, not {decided}" if action < decided else ""
        notes.append(f"low-confidence transcript: {', '.join(doubts)}{capped}")
    if rule.why:
        notes.append(f"override: {rule.why}")
    if review and answer:
        verb = "violates" if answer.violates else "does not violate"
        lifted = f", which scored {scored:.2f}," if score > scored else ""
        notes.append(f"policy judge {review.judge.name}: this{lifted} {verb} the policy: “{answer.rationale}”")
    return Evidence(
        start_s=item.start_s,
        end_s=item.end_s,
        lead_start_s=item.start_s,
        lead_end_s=item.end_s,
        modality="text",
        quote=reasons.trim(item.text.strip()),
        score=score,
        threshold=level.score,
        severity=severity,
        action=action,
        low_confidence=bool(doubts),
        note="; ".join(notes),
        model=given.model if given else text.model,
        model_version=given.model_version if given else text.model_version,
    )


def _within(evidence: Evidence, duration_s: float) -> Evidence:
    """Whisper's last timestamp may lie beyond the audio; evidence never does."""
    if max(evidence.end_s, evidence.lead_end_s) <= duration_s:
        return evidence
    times = ("start_s", "end_s", "lead_start_s", "lead_end_s")
    return evidence.model_copy(update={name: min(getattr(evidence, name), duration_s) for name in times})


def _acoustic_evidence(acoustic: AcousticFindings, duration_s: float, rules: Rules) -> dict[str, list[Evidence]]:
    """Of sounds, and of categories that a classifier of voices hears without words."""
    found: dict[str, list[Evidence]] = defaultdict(list)
    for heard in acoustic.spans:
        if heard.event in CONTEXT_EVENTS:
            continue
        of_voice = heard.event in _CATEGORIES
        name = Category(heard.event) if of_voice else _known(heard.event, Event, acoustic.model)
        rule = rules.categories[name] if isinstance(name, Category) else rules.events[name]
        level = rule.level_for(heard.score)
        if level is None:
            continue
        evidence = Evidence(
            start_s=heard.start_s,
            end_s=heard.end_s,
            lead_start_s=heard.start_s,
            lead_end_s=heard.end_s,
            modality="acoustic",
            event=None if of_voice else name,
            score=heard.score,
            threshold=level.score,
            severity=level.severity,
            action=level.action,
            note=f"override: {rule.why}" if rule.why else "",
            model=acoustic.model,
            model_version=acoustic.model_version,
        )
        found[name].append(_within(evidence, duration_s))
    return found


def _context_sounds(acoustic: AcousticFindings, duration_s: float, rules: Rules) -> list[EventSpan]:
    spans = [
        span.model_copy(update={"start_s": min(span.start_s, duration_s), "end_s": min(span.end_s, duration_s)})
        for span in acoustic.spans
        if span.event in rules.compositions.context_events
    ]
    return sorted(spans, key=lambda span: (span.start_s, span.end_s, span.event, span.score))


@cache
def _known(name: str, kind: type[_Name], model: str) -> _Name:
    try:
        return kind(name)
    except ValueError:
        raise PolicyError(
            f"model {model!r} gave a score for {name!r}, which is not in the taxonomy; "
            f"map it, in the model's label map, to one of {', '.join(kind)}"
        ) from None
