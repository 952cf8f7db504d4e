"""Proposes where a pack's levels should begin, so that no more harmless items are flagged than a budget allows.

The first level of a target, from which something is found at all, is put just above the score that the budget's share
of harmless items exceeds. Higher levels say how bad a finding is, which false alarms do not tell: they stay where they
are, and move up only as far as they must to stay above the first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import yaml
from rich.console import Console
from rich.table import Table as Grid

from aircheck.evaluation.items import TARGETS, DataError, UsageError
from aircheck.evaluation.session import MEASURED, command_line
from aircheck.evaluation.table import SCORES, read_scores
from aircheck.policy.packs import Level, Override, PackLibrary, PolicyPack, load_pack
from aircheck.settings import Settings

_STEP = 10_000  # proposed scores have four decimals
_DEFAULT_BUDGET = 0.01


@dataclass(frozen=True)
class Proposal:
    """Of one target: the score that its first level should begin at, and what to expect of it."""

    target: str
    budget: float
    current: float
    score: float | None  # None where the data cannot say, and the pack keeps its own
    current_recall: float | None  # None without a harmful item
    recall: float | None  # at the proposed score, or else at the current one
    n_harmless: int
    n_harmful: int
    warning: str = ""


def run_thresholds(
    source: Path, budgets: Sequence[str], pack_name: str, out: Path | None, force: bool, console: Console
) -> int:
    """Prints the proposals, and writes the pack when `out` is given. Returns the exit code."""
    wanted = parse_budgets(budgets)
    pack = PackLibrary(Settings.load().policy_dir)[pack_name]
    proposals = propose(*read_scores(source / SCORES if source.is_dir() else source), pack, wanted)
    grid = Grid("", "budget", "harmless", "now", "proposed", "recall", "then", box=None, padding=(0, 1, 0, 0))
    for one in proposals:
        proposed = "kept" if one.score is None else f"[bold]{one.score:.4f}[/]"
        recalls = ["–" if recall is None else f"{recall:.2f}" for recall in (one.current_recall, one.recall)]
        grid.add_row(one.target, f"{one.budget:.1%}", str(one.n_harmless), f"{one.current:g}", proposed, *recalls)
    console.print(grid)
    remarks = [f"{one.target}: {one.warning}; it is only raised, never lowered" for one in proposals if one.warning]
    for remark in remarks + overridden(pack, proposals):
        console.print(remark, style="yellow", markup=False)
    if out is not None:
        if out.exists() and not force:
            raise UsageError(f"{out} exists; give another --out, or --force to overwrite it")
        write_pack(proposed_pack(pack, proposals, out.stem), out)
        console.print(f"written: {out}; read it, raise its version, and put it into the folder of the packs")
    return MEASURED


def parse_budgets(given: Sequence[str]) -> dict[str, float]:
    """`0.01` for all, `violence_threat=0.002` for one. Raises UsageError."""
    budgets = {"": _DEFAULT_BUDGET}
    for word in given:
        name, separator, number = word.rpartition("=")
        try:
            budgets[name] = float(number)
        except ValueError:
            budgets[name] = 0.0
        if not 0.0 < budgets[name] < 1.0:
            raise UsageError(f"--budget {word}: {number!r} is no share above 0 and below 1, such as 0.01")
        if separator and name not in TARGETS:
            raise UsageError(f"--budget {word}: {name!r} is not in the taxonomy; use one of {', '.join(TARGETS)}")
    return {target: budgets.get(target, budgets[""]) for target in TARGETS}


def propose(
    truth: pd.DataFrame, scores: pd.DataFrame, pack: PolicyPack, budgets: Mapping[str, float]
) -> tuple[Proposal, ...]:
    """One proposal for every target with scores, in the taxonomy's order. Raises DataError when there are none."""
    scored = [target for target in TARGETS if (truth[target].notna() & scores[target].notna()).any()]
    if not scored:
        raise DataError("the data hold no scored item whose truth is known")
    firsts = {name: levels[0].score for name, levels in levels_of(pack).items()}
    return tuple(_propose(name, truth[name], scores[name], firsts[name], budgets[name]) for name in scored)


def _propose(target: str, truth: pd.Series, scores: pd.Series, current: float, budget: float) -> Proposal:
    harmless, harmful = scores[truth.eq(0)].dropna(), scores[truth.eq(1)].dropna()
    needed = math.ceil(3 / budget)  # the rule of three: none of 3/p vouches for p
    too_few = len(harmless) < needed
    warning = f"{len(harmless)} harmless items cannot vouch for {budget:.1%}: {needed} are needed" if too_few else ""
    score = above(harmless.nlargest(math.floor(budget * len(harmless)) + 1).min()) if len(harmless) else None
    if score is not None and too_few and score < current:
        score = None  # only raised, never lowered
    before, after = (
        float((harmful >= threshold).mean()) if len(harmful) else None
        for threshold in (current, current if score is None else score)
    )
    return Proposal(target, budget, current, score, before, after, len(harmless), len(harmful), warning)


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


def proposed_pack(pack: PolicyPack, proposals: Sequence[Proposal], name: str) -> PolicyPack:
    """The pack with the proposed scores, under another name; overrides stay as they are."""
    scores = {one.target: one.score for one in proposals if one.score is not None}
    moved = {target: proposed_levels(levels_of(pack)[target], score) for target, score in scores.items()}
    n_items = max(one.n_harmless + one.n_harmful for one in proposals)
    return pack.model_copy(
        update={
            "name": name,
            "version": f"{pack.version[:23]}-proposed",
            "description": f"{pack.description.rstrip('.')}; thresholds proposed from {n_items} items.",
            "categories": {target: moved.get(target, levels) for target, levels in pack.categories.items()},
            "events": {target: moved.get(target, levels) for target, levels in pack.events.items()},
        }
    )


def overridden(pack: PolicyPack, proposals: Sequence[Proposal]) -> list[str]:
    """Which proposed scores an override of the pack undoes, as sentences."""
    scores = {one.target: one.score for one in proposals if one.score is not None}
    found = []
    for override in pack.overrides:
        lower = [
            name for name, levels in levels_of(override).items() if name in scores and levels[0].score < scores[name]
        ]
        if lower:
            when = override.when.model_dump(exclude_defaults=True)
            named = "; ".join(f"{key} {', '.join(values)}" for key, values in when.items())
            found.append(f"the override for {named} begins lower for {', '.join(lower)}, and was left as it is")
    return found


def levels_of(rules: PolicyPack | Override) -> dict[str, tuple[Level, ...]]:
    """The levels by target: a pack's own, overrides aside, or those that an override sets."""
    return {str(name): levels for part in (rules.categories, rules.events) for name, levels in part.items()}


def write_pack(pack: PolicyPack, path: Path) -> None:
    """Writes a pack that `load_pack` reads. Raises PolicyError; UsageError when it cannot be written."""
    head = f"# Proposed by a program from scored items, not yet by a person. Made with:\n#   {command_line()}\n"
    data = yaml.safe_dump(pack.model_dump(mode="json", exclude_defaults=True), sort_keys=False, allow_unicode=True)
    try:
        path.write_text(head + data, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from None
    load_pack(path)
