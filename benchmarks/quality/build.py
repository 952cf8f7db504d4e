"""From results to the report: everything is computed here, nothing is printed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from aircheck.measures.words import word_errors
from aircheck.policy.packs import Rules
from benchmarks.quality.identity import identity
from benchmarks.quality.intervals import Measure, ratio
from benchmarks.quality.manifest import HARD_NEGATIVE, HARD_NEGATIVE_SOUND, KIND, TARGETS
from benchmarks.quality.mistakes import false_negatives, false_positives
from benchmarks.quality.report import Counts, ItemFault, Report, SliceKey, Target
from benchmarks.quality.results import Conditions, Result
from benchmarks.quality.scored import Scored, scored
from benchmarks.quality.slices import WordCounts, slice_figures
from benchmarks.quality.targets import calibrated, confusion, decisions, macro, target_figures
from benchmarks.quality.words import normalised

BUDGET = 0.01


def build(
    results: Sequence[Result],
    conditions: Conditions,
    *,
    manifest: Path,
    command: str,
    rules: Rules | None,
    budget: float = BUDGET,
) -> Report:
    """The report on a run. `rules`: of the pack in force, to name its thresholds; None when it is not known here."""
    data = scored(results)
    targets = [figures for target in TARGETS if (figures := target_figures(data, target, budget, rules))]
    words = _word_counts(data)
    slices, left_out = slice_figures(data, words)
    kinds = {kind: [one.name for one in targets if one.kind == kind] for kind in ("speech", "sound")}
    swap = identity(data)
    report = Report(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command,
        manifest=manifest.name,
        manifest_sha256=hashlib.sha256(manifest.read_bytes()).hexdigest()[:12],
        conditions=conditions,
        embedded_classifiers=any(model.embedded for model in conditions.models),
        budget=budget,
        counts=_counts(results, data),
        faults=tuple(ItemFault(id=r.item.id, error=r.error) for r in results if r.error),
        targets=tuple(targets),
        clean_flagged=_share(data, ~data.true.any(axis=1), data.flagged),
        hard_negatives_flagged=_hard_negatives(data, HARD_NEGATIVE, kinds["speech"]),
        hard_negative_sounds_flagged=_hard_negatives(data, HARD_NEGATIVE_SOUND, kinds["sound"]),
        calibration={kind: calibrated(data, names) for kind, names in kinds.items() if names},
        confusion=confusion(data),
        decisions=decisions(data),
        wer=ratio(words.errors, words.words, data.drawn),
        hallucinated=_hallucinated(data),
        slices=slices,
        slices_left_out=left_out,
        identity=swap,
        false_positives=false_positives(data),
        false_negatives=false_negatives(data),
        figures={},
    )
    return report.model_copy(update={"figures": figures_by_name(report)})


def figures_by_name(report: Report) -> dict[str, float | None]:
    """Every figure that a gate may bound. A figure that the data cannot give is None."""
    figures: dict[str, float | None] = {
        "errors": float(report.counts.errors),
        "items": float(report.counts.items),
        "wer": report.wer.value,
        "hallucinated": report.hallucinated.value,
        "clean_flagged": report.clean_flagged.value,
        "hard_negatives_flagged": report.hard_negatives_flagged.value,
        "hard_negative_sounds_flagged": report.hard_negative_sounds_flagged.value,
        "ece": _error(report, "speech"),
        "events.ece": _error(report, "sound"),
        "identity_gap": report.identity.gap if report.identity else None,
        "identity_decisions_differ": report.identity.decisions_differ.value if report.identity else None,
    }
    for prefix, kind in (("", "speech"), ("events.", "sound")):
        group = [target for target in report.targets if target.kind == kind]
        figures |= _of_targets(prefix, group, report.budget)
    for key in report.slices:
        figures |= _of_slices(key)
    return figures


def _of_targets(prefix: str, targets: list[Target], budget: float) -> dict[str, float | None]:
    at_budget = f"recall_at_{budget * 100:g}pct_fpr"
    named = {
        "precision": [(one.name, one.precision) for one in targets],
        "recall": [(one.name, one.recall) for one in targets],
        "false_positive_rate": [(one.name, one.false_positive_rate) for one in targets],
        at_budget: [(one.name, one.recall_at_budget) for one in targets],
        "average_precision": [(one.name, one.average_precision) for one in targets],
        "overlap": [(one.name, one.overlap) for one in targets],
    }
    if prefix:
        named["f1"] = [(one.name, one.event_f1) for one in targets]
        named["onset_f1"] = [(one.name, one.onset_f1) for one in targets]
    figures: dict[str, float | None] = {}
    for name, measures in named.items():
        figures[f"{prefix}{name}.macro"] = macro([measure for _, measure in measures])
        figures |= {f"{prefix}{name}.{target}": measure.value for target, measure in measures}
    return figures


def _of_slices(key: SliceKey) -> dict[str, float | None]:
    return {
        f"slices.{key.key}.{one.value}.{name}": measure.value
        for one in key.values
        for name, measure in (
            ("recall", one.recall),
            ("false_positive_rate", one.false_positive_rate),
            ("flagged", one.flagged),
            ("wer", one.wer),
        )
    }


def _counts(results: Sequence[Result], data: Scored) -> Counts:
    return Counts(
        items=len(results),
        audio=sum(result.item.audio is not None for result in results),
        text=sum(result.item.text is not None for result in results),
        errors=sum(result.error is not None for result in results),
        clean=int((~data.true.any(axis=1)).sum()),
        audio_s=round(sum(result.duration_s or 0.0 for result in results), 1),
    )


def _word_counts(data: Scored) -> WordCounts:
    errors, words = np.zeros(len(data.results)), np.zeros(len(data.results))
    for row, result in enumerate(data.results):
        if result.transcript is not None and result.item.transcript:
            reference = normalised(result.item.transcript)
            words[row] = len(reference)
            errors[row] = word_errors(reference, normalised(result.transcript)) if reference else 0
    return WordCounts(errors, words)


def _hallucinated(data: Scored) -> Measure:
    """Of items whose reference says that nothing is said, on how many words were heard."""
    silent = np.array([r.transcript is not None and r.item.transcript == "" for r in data.results], dtype=bool)
    heard = np.array([bool(normalised(r.transcript or "")) for r in data.results], dtype=bool)
    return ratio((silent & heard).astype(float), silent.astype(float), data.drawn)


def _hard_negatives(data: Scored, kind: str, targets: list[str]) -> Measure:
    columns = [TARGETS.index(target) for target in targets]
    mine = data.slice_value(KIND) == kind
    if not columns:
        return Measure()
    return _share(data, mine & data.scored[:, columns].any(axis=1), data.found[:, columns].any(axis=1))


def _share(data: Scored, mine: np.ndarray, hit: np.ndarray) -> Measure:
    mine = mine & data.has_verdict
    return ratio((mine & hit).astype(float), mine.astype(float), data.drawn)


def _error(report: Report, kind: str) -> float | None:
    return report.calibration[kind].error.value if kind in report.calibration else None
