"""The sentences that say why: one for a finding, one for a verdict. Both are made from the evidence alone."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from decimal import ROUND_DOWN, Decimal

from aircheck_client.schema import Action, Evidence, Finding, Unchecked, clock

MAX_QUOTE_CHARS = 300
MERGE_GAP_S = 1.0  # evidence nearer than this reads as one passage


def trim(text: str) -> str:
    """At most MAX_QUOTE_CHARS characters, the last an ellipsis where something was cut."""
    return text if len(text) <= MAX_QUOTE_CHARS else text[: MAX_QUOTE_CHARS - 1] + "…"


def leading(evidence: Sequence[Evidence]) -> Evidence:
    """The evidence that decides: the most severe action, then the highest score, then the earliest."""
    return min(
        evidence,
        key=lambda item: (
            -item.action.rank,
            -item.score,
            item.lead_start_s,
            item.lead_end_s,
            item.quote or "",
            item.note,
        ),
    )


def explain(category: str, evidence: Sequence[Evidence], policy: str) -> str:
    """`violence_threat 0.93 ≥ 0.85 at 00:41–00:44: “…” → high, block (default v4), 3 places in all`.

    Score, threshold, words and their span are those of the leading evidence; `evidence` is in order of time.
    """
    lead = leading(evidence)
    shown = f": “{lead.quote}”" if lead.modality == "text" else " (sound)"
    note = f" [{lead.note}]" if lead.note else ""
    severity = max(item.severity for item in evidence)
    places = _count_places(evidence)
    more = f", {places} places in all" if places > 1 else ""
    return (
        f"{category} {_comparison(lead)} at {_span(lead.lead_start_s, lead.lead_end_s)}{shown}{note}"
        f" → {severity}, {lead.action} ({policy}){more}"
    )


def summarise(findings: Sequence[Finding], unchecked: Sequence[Unchecked], policy: str) -> str:
    """One sentence for a verdict, from its findings by severity and from what could not be checked."""
    gaps = _gaps(unchecked)
    worst = findings[0].action if findings else Action.ALLOW
    most = max((action for action, _ in gaps), default=Action.ALLOW)
    if not findings and not gaps:
        return f"nothing found ({policy})"
    if not findings or most > worst:
        text = f"{most}: " + "; ".join(sentence for _, sentence in gaps)
        others = findings
    else:
        lead, *others = findings
        decisive = leading(lead.evidence)
        where = _span(decisive.lead_start_s, decisive.lead_end_s)
        text = f"{lead.action}: {lead.category} ({lead.severity}, {_comparison(decisive).split()[0]}) at {where}"
    if others:
        text += "; also " + ", ".join(f"{item.category} ({item.severity}, {item.action})" for item in others)
    if findings and most <= worst:
        text += "".join(f"; {sentence} ({action})" for action, sentence in gaps)
    return f"{text} ({policy})"


def _gaps(unchecked: Sequence[Unchecked]) -> list[tuple[Action, str]]:
    """An action and a sentence for each kind of what could not be checked, the most severe action first."""
    groups: dict[tuple[Action, str, str], list[Unchecked]] = defaultdict(list)
    for item in unchecked:
        groups[item.action, item.kind, item.language].append(item)
    sentences = []
    for (action, kind, language), items in sorted(groups.items(), key=lambda pair: (-pair[0][0].rank, pair[0][1:])):
        seconds = f"{math.fsum(item.seconds for item in items):.1f} s"
        what = {
            "undecoded": f"{seconds} of audio could not be decoded",
            "untranscribed": f"{seconds} of speech could not be transcribed",
            "unclassified": f"{seconds} of speech in {language!r}, which the text classifier does not cover,"
            if language
            else f"{seconds} of speech in a language that is not sure",
        }[kind]
        more = f" and {len(items) - 1} more" if len(items) > 1 else ""
        sentences.append((action, f"{what} at {_span(items[0].start_s, items[0].end_s)}{more}"))
    return sentences


def _span(start_s: float, end_s: float) -> str:
    return f"{clock(start_s)}–{clock(end_s)}"


def _comparison(evidence: Evidence) -> str:
    """`0.93 ≥ 0.85`, with as many digits as the threshold has, two at least.

    The score is rounded down: a 0.849 that missed a level at 0.85 must not read as if it had reached it.
    """
    threshold = Decimal(str(evidence.threshold))
    step = Decimal(1).scaleb(min(-2, int(threshold.as_tuple().exponent)))
    score = Decimal(str(evidence.score)).quantize(step, rounding=ROUND_DOWN)
    return f"{score:f} ≥ {threshold.quantize(step):f}"


def _count_places(evidence: Sequence[Evidence]) -> int:
    """How many separate passages the evidence speaks of; what lies within MERGE_GAP_S is one."""
    places, end_s = 0, float("-inf")
    for item in evidence:
        places += item.start_s - end_s > MERGE_GAP_S
        end_s = max(end_s, item.end_s)
    return places
