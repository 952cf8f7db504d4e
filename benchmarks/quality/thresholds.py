"""Proposes where a pack's levels should begin, so that no more harmless items are flagged than a budget allows.

The first level of a category, from which something is found at all, is put just above the score that the budget's share
of clean items exceeds. Higher levels say how bad a finding is, which false alarms do not tell: they stay where they
are, and move up only as far as they must to stay above the first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from aircheck.policy.packs import Level, PolicyPack, load_pack
from aircheck.policy.taxonomy import Category, Event
from benchmarks.quality.intervals import DRAWS, SEED, Measure, wilson
from benchmarks.quality.manifest import CATEGORIES, TARGETS
from benchmarks.quality.ranking import at_budget, needed_negatives
from benchmarks.quality.results import Result
from benchmarks.quality.scored import scored

_STEP = 10_000  # proposed scores have four decimals


class ThresholdsError(ValueError):
    """Nothing can be proposed; the message says why and what to do."""


@dataclass(frozen=True)
class Proposal:
    """Of one category or event: the score that its first level should begin at, and what to expect of it.

    score : None where the data cannot say, and the pack keeps its own
    interval : where the score would lie with other items of the same kind, 95 %
    """

    target: str
    budget: float
    current: float
    score: float | None
    interval: tuple[float, float] | None
    recall: Measure
    current_recall: Measure
    false_positive_rate: float | None
    clean: int
    positives: int
    warnings: tuple[str, ...]


def propose(results: Sequence[Result], pack: PolicyPack, budgets: Mapping[str, float]) -> tuple[Proposal, ...]:
    """One proposal for every target, in the taxonomy's order. `budgets`: for every target.

    Raises ThresholdsError when the results hold no scores.
    """
    data = scored(results, draws=1)
    if not data.scored.any():
        raise ThresholdsError(
            "the results hold no scores; measure with --through server, text_safety or acoustic_safety"
        )
    return tuple(
        _propose(
            target,
            data.scores[data.clean[:, column] & data.scored[:, column], column],
            data.scores[data.true[:, column] & data.scored[:, column], column],
            levels_of(pack, target)[0].score,
            budgets[target],
        )
        for column, target in enumerate(TARGETS)
    )


def _propose(target: str, clean: np.ndarray, positives: np.ndarray, current: float, budget: float) -> Proposal:
    needed = needed_negatives(budget)
    warnings = []
    too_few = len(clean) < needed
    if too_few:
        warnings.append(
            f"{len(clean)} clean items cannot vouch for {budget * 100:g} %: at least {needed} are needed (with none "
            f"flagged, the rate may still be {_rule_of_three(len(clean))}); thresholds are only raised, never lowered"
        )
    if not len(clean):
        return Proposal(
            target, budget, current, None, None, Measure(), Measure(), None, 0, len(positives), tuple(warnings)
        )
    if not len(positives):
        warnings.append("no item is labelled with it: what the threshold finds is not known")
    found = at_budget(clean, positives if len(positives) else np.ones(1), budget, DRAWS, SEED)
    assert found is not None
    score = above(found.threshold)
    if score is None:
        warnings.append("clean items score as high as can be: no threshold keeps the budget; the pack's is kept")
    elif too_few and score < current:
        score = None
    low, high = found.threshold_interval
    recall = found.recall if score is not None else _share(positives >= current)
    return Proposal(
        target=target,
        budget=budget,
        current=current,
        score=score,
        interval=(round(low, 4), round(high, 4)),
        recall=recall if len(positives) else Measure(),
        current_recall=_share(positives >= current),
        false_positive_rate=found.false_positive_rate,
        clean=len(clean),
        positives=len(positives),
        warnings=tuple(warnings),
    )


def above(threshold: float) -> float | None:
    """The lowest score of four decimals that is above `threshold`, since a level begins exactly at its score."""
    score = (math.floor(threshold * _STEP + 1e-9) + 1) / _STEP
    return score if score <= 1.0 else None


def proposed_levels(levels: Sequence[Level], score: float) -> tuple[Level, ...]:
    """`levels` with the first at `score`; the others no lower than they were, and rising."""
    moved = [levels[0].model_copy(update={"score": score})]
    for level in levels[1:]:
        least = (round(moved[-1].score * _STEP) + 1) / _STEP
        if max(level.score, least) > 1.0:
            break  # no score is left for it
        moved.append(level.model_copy(update={"score": max(level.score, least)}))
    return tuple(moved)


def proposed_pack(pack: PolicyPack, proposals: Sequence[Proposal], name: str, description: str) -> PolicyPack:
    """The pack with the proposed scores, under another name; overrides stay as they are."""
    by_target = {one.target: one.score for one in proposals if one.score is not None}
    categories = {c: _moved(levels, by_target.get(c)) for c, levels in pack.categories.items()}
    events = {e: _moved(levels, by_target.get(e)) for e, levels in pack.events.items()}
    version = f"{pack.version[:23]}-proposed"
    return pack.model_copy(
        update={
            "name": name,
            "version": version,
            "description": description,
            "categories": categories,
            "events": events,
        }
    )


def overridden(pack: PolicyPack, proposals: Sequence[Proposal]) -> list[str]:
    """Which proposed scores an override of the pack undoes, as sentences."""
    by_target = {one.target: one.score for one in proposals if one.score is not None}
    found = []
    for override in pack.overrides:
        firsts = {**{str(c): x[0].score for c, x in override.categories.items()}}
        firsts |= {str(e): x[0].score for e, x in override.events.items()}
        lower = [name for name, score in firsts.items() if name in by_target and score < by_target[name]]
        if lower:
            when = override.when.model_dump(exclude_defaults=True)
            said = "; ".join(f"{key} {', '.join(values)}" for key, values in when.items())
            found.append(f"the override for {said} begins lower for {', '.join(lower)}, and was left as it is")
    return found


def levels_of(pack: PolicyPack, target: str) -> tuple[Level, ...]:
    """The pack's own levels of a target, overrides aside."""
    return pack.categories[Category(target)] if target in CATEGORIES else pack.events[Event(target)]


def write_pack(pack: PolicyPack, path: Path, comment: str) -> None:
    """Writes a pack that `load_pack` reads, headed by `comment`. Raises PolicyError, OSError."""
    head = "".join(f"# {line}".rstrip() + "\n" for line in comment.splitlines())
    path.write_text(head + _yaml(pack), encoding="utf-8")
    load_pack(path)


def _yaml(pack: PolicyPack) -> str:
    data = pack.model_dump(mode="json", exclude_defaults=True)
    for group in [data, *data.get("overrides", [])]:
        for kind in ("categories", "events"):
            if kind in group:
                group[kind] = {name: [_Inline(level) for level in levels] for name, levels in group[kind].items()}
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


class _Inline(dict[str, object]):
    """A level, written on one line as people write it."""


class _Dumper(yaml.SafeDumper):
    pass


_Dumper.add_representer(
    _Inline, lambda dumper, data: dumper.represent_mapping("tag:yaml.org,2002:map", data, flow_style=True)
)


def _moved(levels: tuple[Level, ...], score: float | None) -> tuple[Level, ...]:
    return levels if score is None else proposed_levels(levels, score)


def _share(hits: np.ndarray) -> Measure:
    return wilson(int(hits.sum()), len(hits))


def _rule_of_three(n: int) -> str:
    return f"{min(1.0, 3 / n) * 100:.1f} %" if n else "anything"
