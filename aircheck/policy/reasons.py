"""The sentences that say why: one for a finding, one for a verdict. Both are made from the evidence alone."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_DOWN, Decimal

from aircheck_client.schema import Evidence, Finding, clock

MAX_QUOTE_CHARS = 300
MERGE_GAP_S = 1.0  # evidence nearer than this reads as one passage


def trim(text: str) -> str:
    """At most MAX_QUOTE_CHARS characters, the last an ellipsis where something was cut."""
    return text if len(text) <= MAX_QUOTE_CHARS else text[: MAX_QUOTE_CHARS - 1] + "…"


def leading(evidence: Sequence[Evidence]) -> Evidence:
    """The evidence that decides: the gravest action, then the highest score, then the earliest."""
    return min(evidence, key=lambda item: (-item.action.rank, -item.score, item.start_s, item.end_s))


def explain(category: str, evidence: Sequence[Evidence], policy: str) -> str:
    """`violence_threat 0.93 ≥ 0.85 at 00:41–00:44: “…” → high, block (default v1), 3 places in all`.

    Score, threshold and span are those of the leading evidence; `evidence` is in order of time.
    """
    lead = leading(evidence)
    shown = f": “{lead.quote}”" if lead.modality == "text" else " (sound)"
    note = f" [{lead.note}]" if lead.note else ""
    severity = max(item.severity for item in evidence)
    places = _count_places(evidence)
    more = f", {places} places in all" if places > 1 else ""
    return (
        f"{category} {_two_digits(lead.score)} ≥ {lead.threshold:.2f} at {_span(lead)}{shown}{note}"
        f" → {severity}, {lead.action} ({policy}){more}"
    )


def summarise(findings: Sequence[Finding], policy: str) -> str:
    """One sentence for a verdict, from its findings in order of gravity."""
    if not findings:
        return f"nothing found ({policy})"
    worst, *others = findings
    lead = leading(worst.evidence)
    text = f"{worst.action}: {worst.category} ({worst.severity}, {_two_digits(lead.score)}) at {_span(lead)}"
    if others:
        text += "; also " + ", ".join(f"{item.category} ({item.severity}, {item.action})" for item in others)
    return f"{text} ({policy})"


def _span(evidence: Evidence) -> str:
    return f"{clock(evidence.start_s)}–{clock(evidence.end_s)}"


def _two_digits(score: float) -> str:
    # Rounded down: a 0.849 that missed a level at 0.85 must not read as if it had reached it.
    return str(Decimal(str(score)).quantize(Decimal("0.01"), rounding=ROUND_DOWN))


def _count_places(evidence: Sequence[Evidence]) -> int:
    """How many separate passages the evidence speaks of; what lies within MERGE_GAP_S is one."""
    places, end_s = 0, float("-inf")
    for item in evidence:
        places += item.start_s - end_s > MERGE_GAP_S
        end_s = max(end_s, item.end_s)
    return places
