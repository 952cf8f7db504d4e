"""The figures of one category or event, and of how they are mixed up with one another."""

from __future__ import annotations

import math

import numpy as np

from aircheck.measures.events import BOTH, ONSET, pair
from aircheck.policy.packs import Rules
from aircheck.policy.reasons import MERGE_GAP_S
from aircheck.policy.taxonomy import Category, Event
from aircheck_client.schema import Action
from benchmarks.quality.calibration import Calibration, calibration
from benchmarks.quality.intervals import DRAWS, SEED, Floats, Measure, mean, ratio
from benchmarks.quality.manifest import CATEGORIES, TARGETS
from benchmarks.quality.ranking import at_budget, average_precision, curve
from benchmarks.quality.report import ConfusionRow, CurvePoint, DecisionRow, Target
from benchmarks.quality.scored import Scored
from benchmarks.quality.spans import joined, overlap

NOTHING = "nothing"
SEVERAL = "several"


def target_figures(data: Scored, target: str, budget: float, rules: Rules | None) -> Target | None:
    """None when no model scored the target on any item."""
    column = TARGETS.index(target)
    rows = data.scored[:, column]
    if not rows.any():
        return None
    true, found, clean = (table[:, column] & rows for table in (data.true, data.found, data.clean))
    drawn = data.drawn[:, rows]
    scores, positive = data.scores[rows, column], data.true[rows, column]
    line = curve(scores, positive).thinned()
    within = at_budget(data.scores[clean, column], data.scores[true, column], budget, DRAWS, SEED)
    iou, start_error, event_f1, onset_f1 = _places(data, target)
    return Target(
        name=target,
        kind="speech" if target in CATEGORIES else "sound",
        positives=int(true.sum()),
        clean=int(clean.sum()),
        pack_threshold=pack_threshold(target, rules),
        precision=_share(true & found, found, data),
        recall=_share(true & found, true, data),
        false_positive_rate=_share(clean & found, clean, data),
        budget_threshold=round(within.threshold, 6) if within else None,
        recall_at_budget=within.recall if within else Measure(),
        average_precision=average_precision(scores, positive, drawn),
        curve=tuple(
            CurvePoint(threshold=round(float(t), 6), precision=round(float(p), 4), recall=round(float(r), 4))
            for t, p, r in zip(line.thresholds, line.precision, line.recall, strict=True)
        ),
        calibration=calibrated(data, [target]),
        overlap=iou,
        start_error_s=start_error,
        event_f1=event_f1,
        onset_f1=onset_f1,
    )


def pack_threshold(target: str, rules: Rules | None) -> float | None:
    """The score from which the pack in force speaks of a finding."""
    if rules is None:
        return None
    rule = rules.categories[Category(target)] if target in CATEGORIES else rules.events[Event(target)]
    return rule.levels[0].score


def calibrated(data: Scored, targets: list[str]) -> Calibration:
    """Over all scores of these targets whose truth is known: items labelled with the target, and clean items.

    An item labelled with something else of the same kind may well be a case of this target too, unlabelled.
    """
    columns = [TARGETS.index(target) for target in targets]
    known = data.scored[:, columns] & (data.true[:, columns] | data.clean[:, columns])
    owner = np.nonzero(known)[0]
    return calibration(data.scores[:, columns][known], data.true[:, columns][known], owner, data.drawn)


def confusion(data: Scored) -> tuple[ConfusionRow, ...]:
    """Of items by their label, how many had each target found; only labels that occur."""
    rows = []
    has_verdict = data.has_verdict
    labels = [
        NOTHING if not row.any() else TARGETS[int(np.argmax(row))] if row.sum() == 1 else SEVERAL for row in data.true
    ]
    for label in (*TARGETS, SEVERAL, NOTHING):
        mine = np.array([one == label for one in labels], dtype=bool) & has_verdict
        if mine.any():
            counts = data.found[mine].sum(axis=0)
            rows.append(
                ConfusionRow(
                    label=label,
                    items=int(mine.sum()),
                    found={target: int(count) for target, count in zip(TARGETS, counts, strict=True) if count},
                    nothing=int((~data.found[mine].any(axis=1)).sum()),
                )
            )
    return tuple(rows)


def decisions(data: Scored) -> tuple[DecisionRow, ...]:
    """Actions decided on items with something unsafe, on those with nothing, and by label."""
    anything = data.true.any(axis=1)
    groups = [("something unsafe", anything), ("nothing unsafe", ~anything)]
    groups += [(target, data.true[:, column]) for column, target in enumerate(TARGETS)]
    rows = []
    for name, mine in groups:
        verdicts = [
            r.verdict for r, use in zip(data.results, mine & data.has_verdict, strict=True) if use and r.verdict
        ]
        if verdicts:
            actions = {action.value: sum(v.action is action for v in verdicts) for action in Action}
            rows.append(DecisionRow(group=name, items=len(verdicts), actions=actions))
    return tuple(rows)


def _share(hits: np.ndarray, of: np.ndarray, data: Scored) -> Measure:
    """Of items with a verdict."""
    has_verdict = data.has_verdict
    return ratio((hits & has_verdict).astype(float), (of & has_verdict).astype(float), data.drawn)


def _places(data: Scored, target: str) -> tuple[Measure, Measure, Measure, Measure]:
    """Overlap, median start error, event F1 and onset F1, where the labels say when.

    A verdict merges evidence nearer than MERGE_GAP_S, so true spans as near as that count as one.
    """
    column = TARGETS.index(target)
    items = len(data.results)
    overlaps, owners, starts = [], [], []
    agreed, onset_agreed, spans = np.zeros(items), np.zeros(items), np.zeros(items)
    for row, result in enumerate(data.results):
        true = data.true_spans(row, target)
        if result.verdict is None or result.item.audio is None or not data.scored[row, column] or true is None:
            continue
        true, found = joined(true, MERGE_GAP_S), data.found_spans(row, target)
        heard = joined(found)
        agreed[row], onset_agreed[row] = (2 * len(pair(true, heard, criterion)) for criterion in (BOTH, ONSET))
        spans[row] = len(true) + len(heard)
        if true and found:
            overlaps.append(overlap(found, true))
            owners.append(row)
            starts.append(min(abs(one.start_s - other.start_s) for one in found for other in true))
    iou = mean(np.array(overlaps), _renewed(data.drawn, owners))
    if target in CATEGORIES or not spans.any():
        return iou, _median(starts), Measure(), Measure()
    return iou, _median(starts), _f1(agreed, spans, data), _f1(onset_agreed, spans, data)


def _f1(agreed: Floats, spans: Floats, data: Scored) -> Measure:
    """2 TP / (true + found), which is the harmonic mean of precision and recall."""
    return ratio(agreed, spans, data.drawn)


def _renewed(drawn: Floats, rows: list[int]) -> Floats:
    return drawn[:, rows] if rows else np.zeros((len(drawn), 0))


def _median(values: list[float]) -> Measure:
    if not values:
        return Measure()
    rng = np.random.default_rng(SEED)
    draws = np.median(rng.choice(values, size=(DRAWS, len(values))), axis=1)
    return Measure.of(float(np.median(values)), draws, len(values))


def macro(measures: list[Measure]) -> float | None:
    """The plain mean over targets that have a value."""
    values = [measure.value for measure in measures if measure.value is not None and math.isfinite(measure.value)]
    return round(float(np.mean(values)), 6) if values else None
