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


def assemble(
    by_name: Mapping[str, Sequence[Evidence]],
    *,
    scope: Literal["window", "episode"],
    start_s: float,
    duration_s: float,
    coverage: Coverage,
    unchecked: Iterable[Unchecked],
    segments: Iterable[Segment],
    context_sounds: Iterable[EventSpan],
    warnings: Iterable[str],
    terms: Terms,
) -> Verdict:
    """Assemble a verdict from the evidence for each category and event; the most severe finding comes first."""
    findings = [_finding(name, evidence, terms.policy) for name, evidence in by_name.items()]
    ordered = tuple(
        sorted(findings, key=lambda item: (-item.action.rank, -item.severity.rank, -item.score, item.category))
    )
    stretches = gaps.ordered(unchecked)
    actions = [finding.action for finding in ordered] + [item.action for item in stretches]
    transcript = tuple(segments)
    return Verdict(
        scope=scope,
        start_s=start_s,
        duration_s=duration_s,
        score=max((finding.score for finding in ordered), default=0.0),
        severity=max((finding.severity for finding in ordered), default=Severity.NONE),
        action=max(actions, default=Action.ALLOW),
        reason=reasons.summarise(ordered, stretches, terms.policy),
        findings=ordered,
        coverage=coverage,
        unchecked=stretches,
        segments=transcript,
        context_sounds=tuple(context_sounds),
        language=_main_language(transcript),
        warnings=tuple(dict.fromkeys(warnings)),
        context=terms.context,
        policy_pack=terms.policy_pack,
        policy_version=terms.policy_version,
        policy_sha256=terms.policy_sha256,
        server_version=terms.server_version,
        models=terms.models,
    )


def by_name(verdicts: Iterable[Verdict]) -> dict[str, list[Evidence]]:
    """All the evidence for each category and event, in the order of the verdicts."""
    evidence: dict[str, list[Evidence]] = defaultdict(list)
    for verdict in verdicts:
        for finding in verdict.findings:
            evidence[finding.category] += finding.evidence
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
