"""A verdict from its evidence: what `decide` and `fold` have in common."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from aircheck.policy import coverage as gaps
from aircheck.policy import reasons
from aircheck_client.schema import (
    Action,
    Context,
    Coverage,
    EventSpan,
    Evidence,
    Finding,
    ModelVersion,
    Segment,
    Severity,
    Unchecked,
    Verdict,
)


@dataclass(frozen=True)
class Terms:
    """By what a verdict was made; verdicts made by different terms are not folded."""

    context: Context
    policy_pack: str
    policy_version: str
    policy_sha256: str
    server_version: str
    models: tuple[ModelVersion, ...]

    @classmethod
    def of(cls, verdict: Verdict) -> Terms:
        return cls(
            context=verdict.context,
            policy_pack=verdict.policy_pack,
            policy_version=verdict.policy_version,
            policy_sha256=verdict.policy_sha256,
            server_version=verdict.server_version,
            models=verdict.models,
        )

    @property
    def policy(self) -> str:
        return f"{self.policy_pack} v{self.policy_version}"

    def __str__(self) -> str:
        models = ", ".join(f"{model.name} {model.version}" for model in self.models)
        return (
            f"{self.policy} (SHA-256 {self.policy_sha256[:12]}) for {self.context.model_dump_json()} by aircheck "
            f"{self.server_version} with {models}"
        )


@dataclass(frozen=True)
class Parts:
    """What a verdict is assembled from; windows are shifted and folded as parts, and only the whole is put in words.

    by_name : the evidence for each category and event
    """

    by_name: Mapping[str, Sequence[Evidence]]
    scope: Literal["window", "episode"]
    start_s: float
    duration_s: float
    coverage: Coverage
    unchecked: Sequence[Unchecked]
    segments: Sequence[Segment]
    context_sounds: Sequence[EventSpan]
    warnings: Sequence[str]
    terms: Terms

    @classmethod
    def of(cls, verdict: Verdict) -> Parts:
        return cls(
            by_name={finding.category: finding.evidence for finding in verdict.findings},
            scope=verdict.scope,
            start_s=verdict.start_s,
            duration_s=verdict.duration_s,
            coverage=verdict.coverage,
            unchecked=verdict.unchecked,
            segments=verdict.segments,
            context_sounds=verdict.context_sounds,
            warnings=verdict.warnings,
            terms=Terms.of(verdict),
        )


def assemble(parts: Parts) -> Verdict:
    """The verdict of these parts; the most severe finding comes first."""
    terms = parts.terms
    findings = [_finding(name, evidence, terms.policy) for name, evidence in parts.by_name.items()]
    ordered = tuple(
        sorted(findings, key=lambda item: (-item.action.rank, -item.severity.rank, -item.score, item.category))
    )
    stretches = gaps.ordered(parts.unchecked)
    actions = [finding.action for finding in ordered] + [item.action for item in stretches]
    return Verdict(
        scope=parts.scope,
        start_s=parts.start_s,
        duration_s=parts.duration_s,
        score=max((finding.score for finding in ordered), default=0.0),
        severity=max((finding.severity for finding in ordered), default=Severity.NONE),
        action=max(actions, default=Action.ALLOW),
        reason=reasons.summarise(ordered, stretches, terms.policy),
        findings=ordered,
        coverage=parts.coverage,
        unchecked=stretches,
        segments=tuple(parts.segments),
        context_sounds=tuple(parts.context_sounds),
        language=_main_language(parts.segments),
        warnings=tuple(dict.fromkeys(parts.warnings)),
        context=terms.context,
        policy_pack=terms.policy_pack,
        policy_version=terms.policy_version,
        policy_sha256=terms.policy_sha256,
        server_version=terms.server_version,
        models=terms.models,
    )


def by_name(windows: Iterable[Parts]) -> dict[str, list[Evidence]]:
    """All the evidence for each category and event, in the order of the windows."""
    evidence: dict[str, list[Evidence]] = defaultdict(list)
    for window in windows:
        for name, found in window.by_name.items():
            evidence[name] += found
    return evidence


def evidence_key(item: Evidence) -> tuple[object, ...]:
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


def _finding(name: str, evidence: Sequence[Evidence], policy: str) -> Finding:
    ordered = tuple(sorted(evidence, key=evidence_key))
    return Finding(
        category=name,
        score=max(item.score for item in ordered),
        severity=max(item.severity for item in ordered),
        action=max(item.action for item in ordered),
        reason=reasons.explain(name, ordered, policy),
        evidence=ordered,
    )


def _main_language(segments: Iterable[Segment]) -> str:
    """The language of the most seconds of text; empty where there is no text."""
    lengths_s: dict[str, list[float]] = defaultdict(list)
    for segment in segments:
        if segment.language and segment.text.strip():
            lengths_s[segment.language].append(segment.end_s - segment.start_s)
    # fsum: exact, so that the order of the segments cannot matter
    return min(lengths_s, key=lambda language: (-math.fsum(lengths_s[language]), language), default="")
