"""Records to rows of the rescored table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aircheck.policy.kept import decide_recording
from aircheck.policy.packs import PolicyPack, Rules
from aircheck_client.schema import Context, Verdict, WindowFindings


@dataclass(frozen=True)
class Work:
    """The windows of one record that are to be decided, as JSON."""

    record: str
    context: Mapping[str, str]
    undecoded_s: float
    duration_s: float
    windows: tuple[str, ...]


class Decider:
    """Decides records by one pack, in whatever process."""

    def __init__(self, pack: PolicyPack):
        self._pack = pack
        self._rules: dict[Context, Rules] = {}

    def __call__(self, work: Work) -> dict[str, Any]:
        """A row of the rescored table: record, action, severity, score, reason, findings."""
        context = Context.model_validate({**work.context, "policy_pack": self._pack.name})
        rules = self._rules.setdefault(context, self._pack.for_context(context))
        windows = [WindowFindings.model_validate_json(text) for text in work.windows]
        return row_of(work.record, decide_recording(windows, work.duration_s, context, rules, work.undecoded_s))


def row_of(record: str, verdict: Verdict) -> dict[str, Any]:
    return {
        "record": record,
        "action": str(verdict.action),
        "severity": str(verdict.severity),
        "score": verdict.score,
        "reason": verdict.reason,
        "findings": [
            {
                "category": finding.category,
                "score": finding.score,
                "severity": str(finding.severity),
                "action": str(finding.action),
            }
            for finding in verdict.findings
        ],
    }
