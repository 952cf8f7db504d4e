"""From findings to verdicts: a pack's rules applied to what the classifiers found in one window."""

from __future__ import annotations

from collections import defaultdict
from typing import TypeVar

from aircheck.policy import coverage, provenance, reasons
from aircheck.policy.assemble import Terms, assemble
from aircheck.policy.errors import PolicyError
from aircheck.policy.packs import Rules
from aircheck.policy.taxonomy import CONTEXT_EVENTS, Category, Event
from aircheck_client.schema import AcousticFindings, Context, EventSpan, Evidence, TextFindings, Transcript, Verdict

_Name = TypeVar("_Name", Category, Event)


def decide_window(
    transcript: Transcript,
    text: TextFindings,
    acoustic: AcousticFindings,
    duration_s: float,
    context: Context,
    rules: Rules,
    warnings: tuple[str, ...] = (),
) -> Verdict:
    """The verdict on one window; times count from the window's start.

    Args:
        rules: `pack.for_context(context)`.
        warnings: what the decoder warns of.

    Raises:
        PolicyError: a classifier speaks of a category or an event that the taxonomy does not have.
    """
    context_sounds = _context_sounds(acoustic, duration_s, rules)
    evidence = {
        **_text_evidence(transcript, text, duration_s, rules),
        **_acoustic_evidence(acoustic, duration_s, rules),
    }
    verdict = assemble(
        rules.compositions.compose(evidence, context_sounds),
        scope="window",
        start_s=0.0,
        duration_s=duration_s,
        coverage=coverage.measure(transcript, duration_s, text.languages),
        unchecked=coverage.unchecked(transcript, duration_s, text.languages, rules.coverage),
        segments=coverage.with_languages(transcript),
        context_sounds=context_sounds,
        warnings=(*warnings, *coverage.language_warnings(transcript, text)),
        terms=Terms(
            context=context,
            policy_pack=rules.pack,
            policy_version=rules.version,
            policy_sha256=rules.sha256,
            server_version=provenance.server_version(),
            models=provenance.models(transcript, text, acoustic),
        ),
    )
    return verdict.model_copy(
        update={
            "detected_language": transcript.detected_language,
            "detected_probability": transcript.detected_probability,
        }
    )


def _text_evidence(
    transcript: Transcript, text: TextFindings, duration_s: float, rules: Rules
) -> dict[str, list[Evidence]]:
    cap = rules.low_confidence.highest_action
    found: dict[str, list[Evidence]] = defaultdict(list)
    for item in text.sentences:
        doubts = tuple(dict.fromkeys(doubt for part in item.segments for doubt in rules.low_confidence.doubts(part)))
        language = item.segments[0].language or transcript.language
        if text.languages and language and language not in text.languages:
            doubts += (f"language {language!r}, which the classifier does not cover",)
        for name, score in item.scores.items():
            category = _known(name, Category, text.model)
            rule = rules.categories[category]
            level = rule.level_for(score)
            if level is None:
                continue
            action = min(level.action, cap) if doubts else level.action
            notes = []
            if doubts:
                capped = f"; by itself it leads to {action}, not {level.action}" if action < level.action else ""
                notes.append(f"low-confidence transcript: {', '.join(doubts)}{capped}")
            if rule.why:
                notes.append(f"override: {rule.why}")
            evidence = Evidence(
                start_s=min(item.start_s, duration_s),  # Whisper's last timestamp may lie beyond the audio
                end_s=min(item.end_s, duration_s),
                lead_start_s=min(item.start_s, duration_s),
                lead_end_s=min(item.end_s, duration_s),
                modality="text",
                quote=reasons.trim(item.text.strip()),
                score=score,
                threshold=level.score,
                severity=level.severity,
                action=action,
                low_confidence=bool(doubts),
                note="; ".join(notes),
                model=text.model,
                model_version=text.model_version,
            )
            found[category].append(evidence)
    return found


def _acoustic_evidence(acoustic: AcousticFindings, duration_s: float, rules: Rules) -> dict[str, list[Evidence]]:
    found: dict[str, list[Evidence]] = defaultdict(list)
    for heard in acoustic.spans:
        event = _known(heard.event, Event, acoustic.model)
        if event in CONTEXT_EVENTS:
            continue
        rule = rules.events[event]
        level = rule.level_for(heard.score)
        if level is None:
            continue
        evidence = Evidence(
            start_s=min(heard.start_s, duration_s),
            end_s=min(heard.end_s, duration_s),
            lead_start_s=min(heard.start_s, duration_s),
            lead_end_s=min(heard.end_s, duration_s),
            modality="acoustic",
            event=event,
            score=heard.score,
            threshold=level.score,
            severity=level.severity,
            action=level.action,
            note=f"override: {rule.why}" if rule.why else "",
            model=acoustic.model,
            model_version=acoustic.model_version,
        )
        found[event].append(evidence)
    return found


def _context_sounds(acoustic: AcousticFindings, duration_s: float, rules: Rules) -> list[EventSpan]:
    spans = [
        span.model_copy(update={"start_s": min(span.start_s, duration_s), "end_s": min(span.end_s, duration_s)})
        for span in acoustic.spans
        if span.event in rules.compositions.context_events
    ]
    return sorted(spans, key=lambda span: (span.start_s, span.end_s, span.event, span.score))


def _known(name: str, kind: type[_Name], model: str) -> _Name:
    try:
        return kind(name)
    except ValueError:
        raise PolicyError(
            f"model {model!r} gave a score for {name!r}, which is not in the taxonomy; "
            f"map it, in the model's label map, to one of {', '.join(kind)}"
        ) from None
