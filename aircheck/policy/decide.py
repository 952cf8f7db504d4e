"""From findings to verdicts: decide one window, move it to file time, fold the windows of a file into one verdict.

`decide_window` applies a pack's rules to what the classifiers found. `shift` and `fold` know no rules: they only move
and merge verdicts, so whoever holds the verdicts of the windows can fold them.

`fold` does not depend on the order in which it gets the windows, and folding in parts gives the same verdict as
folding at once (for windows that do not overlap).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, TypeVar

from aircheck.policy import reasons
from aircheck.policy.errors import PolicyError
from aircheck.policy.packs import Rules
from aircheck.policy.reasons import MERGE_GAP_S
from aircheck.policy.taxonomy import CONTEXT_EVENTS, Category, Event
from aircheck_client.schema import (
    AcousticFindings,
    Action,
    Context,
    Evidence,
    Finding,
    Segment,
    Severity,
    TextFindings,
    Verdict,
)

_Name = TypeVar("_Name", Category, Event)


def decide_window(
    text: TextFindings,
    acoustic: AcousticFindings,
    duration_s: float,
    language: str,
    context: Context,
    rules: Rules,
    *,
    segments: Sequence[Segment] | None = None,
) -> Verdict:
    """The verdict on one window; times count from the window's start.

    Args:
        rules: `pack.for_context(context)`.
        segments: the transcript to carry in the verdict; by default the segments that were classified.

    Raises:
        PolicyError: a classifier speaks of a category or an event that the taxonomy does not have.
    """
    by_name = {**_text_evidence(text, duration_s, rules), **_acoustic_evidence(acoustic, duration_s, rules)}
    return _verdict(
        by_name,
        scope="window",
        start_s=0.0,
        duration_s=duration_s,
        segments=tuple(item.segment for item in text.segments) if segments is None else tuple(segments),
        language=language,
        context=context,
        policy_pack=rules.pack,
        policy_version=rules.version,
    )


def _text_evidence(text: TextFindings, duration_s: float, rules: Rules) -> dict[str, list[Evidence]]:
    cap = rules.low_confidence.highest_action
    found: dict[str, list[Evidence]] = defaultdict(list)
    for item in text.segments:
        segment = item.segment
        doubts = rules.low_confidence.doubts(segment)
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
                start_s=min(segment.start_s, duration_s),  # Whisper's last timestamp may lie beyond the audio
                end_s=min(segment.end_s, duration_s),
                modality="text",
                quote=reasons.trim(segment.text.strip()),
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


def _known(name: str, kind: type[_Name], model: str) -> _Name:
    try:
        return kind(name)
    except ValueError:
        raise PolicyError(
            f"model {model!r} gave a score for {name!r}, which is not in the taxonomy; "
            f"map it, in the model's label map, to one of {', '.join(kind)}"
        ) from None


def shift(verdict: Verdict, start_s: float) -> Verdict:
    """A window's verdict with its evidence, segments and reasons `start_s` seconds later: in the file's time.

    Raises:
        PolicyError: not a window's verdict, or a negative `start_s`.
    """
    if verdict.scope != "window":
        raise PolicyError(f"cannot shift a verdict of scope {verdict.scope!r}; shift windows, then fold them")
    if start_s < 0:
        raise PolicyError(f"cannot shift a window to {start_s} s; a window starts at 0 or later")
    return _verdict(
        {
            finding.category: [
                item.model_copy(update={"start_s": item.start_s + start_s, "end_s": item.end_s + start_s})
                for item in finding.evidence
            ]
            for finding in verdict.findings
        },
        scope="window",
        start_s=verdict.start_s + start_s,
        duration_s=verdict.duration_s,
        segments=tuple(
            segment.model_copy(update={"start_s": segment.start_s + start_s, "end_s": segment.end_s + start_s})
            for segment in verdict.segments
        ),
        language=verdict.language,
        context=verdict.context,
        policy_pack=verdict.policy_pack,
        policy_version=verdict.policy_version,
    )


def fold(verdicts: Iterable[Verdict], duration_s: float) -> Verdict:
    """One verdict for a whole file from those of its windows, which are in file time (see `shift`).

    Evidence of one category that touches, overlaps, or lies within MERGE_GAP_S becomes one passage, as long as the same
    model gave it with the same confidence: doubtful text never lends its score to text that was heard well. The
    severity and the action are the highest of any window. The language is that of the first window that has one.

    Raises:
        PolicyError: no verdicts, or verdicts made under different contexts or packs.
    """
    # The JSON only breaks ties, so that the order in which the windows came cannot matter.
    windows = sorted(verdicts, key=lambda item: (item.start_s, item.duration_s, item.model_dump_json()))
    if not windows:
        raise PolicyError("cannot fold no verdicts; an episode has at least one window")
    first = windows[0]
    terms = {(item.policy_pack, item.policy_version, item.context) for item in windows}
    if len(terms) > 1:
        given = sorted(f"{pack} v{version} for {context.model_dump_json()}" for pack, version, context in terms)
        raise PolicyError(f"cannot fold verdicts made under different terms: {'; '.join(given)}; scan the file again")

    by_name: dict[str, list[Evidence]] = defaultdict(list)
    for window in windows:
        for finding in window.findings:
            by_name[finding.category] += finding.evidence
    segments = [segment for window in windows for segment in window.segments]
    return _verdict(
        {name: _merged(evidence) for name, evidence in by_name.items()},
        scope="episode",
        start_s=first.start_s,
        duration_s=duration_s,
        segments=tuple(sorted(segments, key=lambda segment: (segment.start_s, segment.end_s))),
        language=next((window.language for window in windows if window.language), ""),
        context=first.context,
        policy_pack=first.policy_pack,
        policy_version=first.policy_version,
    )


def _merged(evidence: Sequence[Evidence]) -> list[Evidence]:
    """Join neighbours of one kind into passages."""
    passages: list[Evidence] = []
    latest: dict[tuple[object, ...], int] = {}  # kind of evidence -> its latest passage
    for item in sorted(evidence, key=_evidence_key):
        kind = (item.modality, item.event, item.low_confidence, item.model, item.model_version)
        at = latest.get(kind)
        if at is not None and item.start_s - passages[at].end_s <= MERGE_GAP_S:
            passages[at] = _joined(passages[at], item)
        else:
            latest[kind] = len(passages)
            passages.append(item)
    return passages


def _joined(earlier: Evidence, later: Evidence) -> Evidence:
    quote = None
    if earlier.quote is not None and later.quote is not None:
        quote = reasons.trim(f"{earlier.quote} {later.quote}")
    graver = reasons.leading([earlier, later])
    return graver.model_copy(
        update={"start_s": earlier.start_s, "end_s": max(earlier.end_s, later.end_s), "quote": quote}
    )


def _evidence_key(item: Evidence) -> tuple[object, ...]:
    """Order of time; then every other field, so that the order is total."""
    return (
        item.start_s,
        item.end_s,
        item.modality,
        item.event or "",
        item.quote or "",
        item.score,
        item.low_confidence,
        item.note,
        item.model,
        item.model_version,
    )


def _verdict(
    by_name: Mapping[str, Sequence[Evidence]],
    *,
    scope: Literal["window", "episode"],
    start_s: float,
    duration_s: float,
    segments: tuple[Segment, ...],
    language: str,
    context: Context,
    policy_pack: str,
    policy_version: str,
) -> Verdict:
    """Assemble a verdict from the evidence for each category and event; the gravest finding comes first."""
    policy = f"{policy_pack} v{policy_version}"
    findings = [_finding(name, evidence, policy) for name, evidence in by_name.items()]
    ordered = tuple(
        sorted(findings, key=lambda item: (-item.action.rank, -item.severity.rank, -item.score, item.category))
    )
    return Verdict(
        scope=scope,
        start_s=start_s,
        duration_s=duration_s,
        score=max((finding.score for finding in ordered), default=0.0),
        severity=max((finding.severity for finding in ordered), default=Severity.NONE),
        action=max((finding.action for finding in ordered), default=Action.ALLOW),
        reason=reasons.summarise(ordered, policy),
        findings=ordered,
        segments=segments,
        language=language,
        context=context,
        policy_pack=policy_pack,
        policy_version=policy_version,
    )


def _finding(name: str, evidence: Sequence[Evidence], policy: str) -> Finding:
    ordered = tuple(sorted(evidence, key=_evidence_key))
    return Finding(
        category=name,
        score=max(item.score for item in ordered),
        severity=max(item.severity for item in ordered),
        action=max(item.action for item in ordered),
        reason=reasons.explain(name, ordered, policy),
        evidence=ordered,
    )
