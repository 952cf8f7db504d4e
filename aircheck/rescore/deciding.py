"""A recording's verdict from what was kept of its windows: as the gateway makes it, without the gateway."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from aircheck.policy.decide import decide_window
from aircheck.policy.fold import add_undecoded, fold, shift
from aircheck.policy.packs import PolicyPack, Rules
from aircheck_client.schema import Context, Verdict, WindowFindings


def verdict_of(
    windows: Iterable[WindowFindings], duration_s: float, context: Context, rules: Rules, undecoded_s: float = 0.0
) -> Verdict:
    """The verdict on a recording.

    Of its windows, those in which nothing can be found may be left out where all of it was decoded; coverage,
    transcript and language are then those of the others.
    """
    decided = [_window(window, context, rules) for window in sorted(windows, key=lambda window: window.start_s)]
    return add_undecoded(fold(decided, duration_s, rules.compositions), undecoded_s, rules.coverage)


def _window(window: WindowFindings, context: Context, rules: Rules) -> Verdict:
    """In the recording's time."""
    verdict = decide_window(
        window.transcript,
        window.text_findings,
        window.acoustic_findings,
        window.duration_s,
        context,
        rules,
        window.warnings,
        language=window.language,
    )
    return shift(verdict, window.start_s) if window.start_s else verdict


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
        return row_of(work.record, verdict_of(windows, work.duration_s, context, rules, work.undecoded_s))


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
