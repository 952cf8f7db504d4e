"""Results as arrays: what is true, what was scored and what was found, of every item and every target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aircheck_client.schema import Action, Evidence
from benchmarks.quality.intervals import DRAWS, Floats, weights
from benchmarks.quality.manifest import CATEGORIES, TARGETS
from benchmarks.quality.ranking import Bools
from benchmarks.quality.results import Result
from benchmarks.quality.spans import Span


@dataclass(frozen=True)
class Scored:
    """Items with a result, in order; targets are the columns, in the order of TARGETS.

    true : labelled, [items, targets]
    scores : [items, targets], NaN where no model scored
    found : the verdict has a finding, [items, targets]
    clean : labelled with nothing of the target's kind (words or sounds), [items, targets]
    flagged : the verdict asks for more than `allow`, [items]
    drawn : bootstrap weights, [draws, items]
    """

    results: tuple[Result, ...]
    true: Bools
    scores: Floats
    found: Bools
    clean: Bools
    flagged: Bools
    drawn: Floats

    @property
    def scored(self) -> Bools:
        """Where there is a score, [items, targets]."""
        return np.isfinite(self.scores)

    @property
    def has_verdict(self) -> Bools:
        """Which items have a verdict, [items]."""
        return np.array([result.verdict is not None for result in self.results], dtype=bool)

    def slice_value(self, key: str) -> np.ndarray:
        """Each item's value of a slice key, "" where it has none; shape = (items,)."""
        return np.array([result.item.slices.get(key, "") for result in self.results], dtype=object)

    def evidence(self, row: int, target: str) -> tuple[Evidence, ...]:
        """What the verdict on one item says of one target."""
        verdict = self.results[row].verdict
        findings = verdict.findings if verdict else ()
        return next((finding.evidence for finding in findings if finding.category == target), ())

    def found_spans(self, row: int, target: str) -> list[Span]:
        return [Span(item.start_s, item.end_s) for item in self.evidence(row, target)]

    def true_spans(self, row: int, target: str) -> list[Span] | None:
        """Labelled times of a target; None when one of its labels has no times."""
        labels = [label for label in self.results[row].item.labels if label.category == target]
        spans = [Span(x.start_s, x.end_s) for x in labels if x.start_s is not None and x.end_s is not None]
        return spans if len(spans) == len(labels) else None


def scored(results: Sequence[Result], draws: int = DRAWS) -> Scored:
    """The arrays of all results without an error."""
    good = tuple(result for result in results if result.error is None)
    speech = np.array([target in CATEGORIES for target in TARGETS])
    true = np.array([[t in r.item.categories for t in TARGETS] for r in good], dtype=bool).reshape(-1, len(TARGETS))
    any_of_kind = np.where(speech, true[:, speech].any(axis=1)[:, None], true[:, ~speech].any(axis=1)[:, None])
    return Scored(
        results=good,
        true=true,
        scores=np.array([_scores(result) for result in good], dtype=float).reshape(-1, len(TARGETS)),
        found=np.array([_found(result) for result in good], dtype=bool).reshape(-1, len(TARGETS)),
        clean=~any_of_kind,
        flagged=np.array([r.verdict is not None and r.verdict.action > Action.ALLOW for r in good], dtype=bool),
        drawn=weights(len(good), draws),
    )


def _scores(result: Result) -> list[float]:
    both = {**(result.text_scores or {}), **(result.event_scores or {})}
    return [both.get(target, np.nan) for target in TARGETS]


def _found(result: Result) -> list[bool]:
    names = {finding.category for finding in result.verdict.findings} if result.verdict else set()
    return [target in names for target in TARGETS]
