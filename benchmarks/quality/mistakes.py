"""The worst mistakes: the surest false alarms, and the harmful items that scored lowest."""

from __future__ import annotations

import numpy as np

from benchmarks.quality.manifest import CATEGORIES, TARGETS
from benchmarks.quality.report import Miss
from benchmarks.quality.scored import Scored

MOST = 20
_QUOTE_CHARS = 300


def false_positives(data: Scored, most: int = MOST) -> tuple[Miss, ...]:
    """Found and not labelled, the surest first; the surest one of each item. Clean items come before others."""
    return _worst(data, data.found & ~data.true & data.scored, sign=-1.0, most=most)


def false_negatives(data: Scored, most: int = MOST) -> tuple[Miss, ...]:
    """Labelled and not found, the lowest scores first; the lowest one of each item."""
    return _worst(data, data.true & ~data.found & data.scored & data.has_verdict[:, None], sign=1.0, most=most)


def _worst(data: Scored, wrong: np.ndarray, sign: float, most: int) -> tuple[Miss, ...]:
    order: dict[int, tuple[float, int]] = {}
    for row, column in zip(*np.nonzero(wrong), strict=True):
        rank = (sign * float(data.scores[row, column]), int(column))
        if int(row) not in order or rank < order[int(row)]:
            order[int(row)] = rank
    harmless_first = sign < 0
    rows = sorted(order, key=lambda row: (harmless_first and bool(data.true[row].any()), order[row], row))
    return tuple(_miss(data, row, order[row][1]) for row in rows[:most])


def _miss(data: Scored, row: int, column: int) -> Miss:
    result, target = data.results[row], TARGETS[column]
    evidence = max(data.evidence(row, target), key=lambda item: item.score, default=None)
    label = next((x for x in result.item.labels if x.category == target), None)
    quote = evidence.quote if evidence else None
    if quote is None and target in CATEGORIES:
        quote = result.item.text or result.transcript
    return Miss(
        id=result.item.id,
        target=target,
        score=round(float(data.scores[row, column]), 4),
        start_s=evidence.start_s if evidence else label.start_s if label else None,
        end_s=evidence.end_s if evidence else label.end_s if label else None,
        labels=tuple(sorted(result.item.categories)),
        quote=_cut(quote),
        reference=_cut(result.item.transcript),
        audio=result.item.audio,
        slices=result.item.slices,
        note=result.item.note,
    )


def _cut(text: str | None) -> str | None:
    return text if text is None or len(text) <= _QUOTE_CHARS else text[: _QUOTE_CHARS - 1] + "…"
