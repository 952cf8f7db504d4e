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

import numpy as np
import pandas as pd
import yaml
from rich.console import Console
from rich.table import Table as Grid

from aircheck.evaluation.items import CATEGORIES, TARGETS, DataError
from aircheck.evaluation.session import ERROR, MEASURED, UsageError, command_line
from aircheck.evaluation.table import SCORES, read_scores
from aircheck.policy.errors import PolicyError
from aircheck.policy.packs import Level, PackLibrary, PolicyPack, load_pack
from aircheck.policy.taxonomy import Category, Event
from aircheck.settings import Settings, SettingsError

_STEP = 10_000  # proposed scores have four decimals
_DEFAULT_BUDGET = 0.01


@dataclass(frozen=True)
class Proposal:
    """Of one target: the score that its first level should begin at, and what to expect of it.

    Attributes:
        score: None where the data cannot say, and the pack keeps its own.
        recall: at the proposed score, or else at the current one; None without a harmful item.
    """

    target: str
    budget: float
    current: float
    score: float | None
    current_recall: float | None
    recall: float | None
    n_harmless: int
    n_harmful: int
    warning: str = ""


def run_thresholds(
    source: Path, budgets: Sequence[str], pack_name: str, out: Path | None, force: bool, console: Console
) -> int:
    """Prints the proposals, and writes the pack when `out` is given. Returns the exit code."""
    try:
        wanted = parse_budgets(budgets)
        pack = PackLibrary(Settings.load().policy_dir)[pack_name]
        proposals = propose(*read_scores(source / SCORES if source.is_dir() else source), pack, wanted)
        _print(proposals, console)
        for remark in overridden(pack, proposals):
            console.print(remark, style="yellow", markup=False)
        if out is not None:
            if out.exists() and not force:
                raise UsageError(f"{out} exists; give another --out, or --force to overwrite it")
            write_pack(proposed_pack(pack, proposals, out.stem), out)
            console.print(f"written: {out}; read it, raise its version, and put it into the folder of the packs")
    except (UsageError, DataError, SettingsError, PolicyError) as error:
        console.print(f"error: {error}", style="red", markup=False)
        return ERROR
    except OSError as error:
        console.print(f"error: {out}: cannot be written: {error.strerror}", style="red", markup=False)
        return ERROR
    return MEASURED


def parse_budgets(given: Sequence[str]) -> dict[str, float]:
    """`0.01` for all, `violence_threat=0.002` for one. Raises UsageError."""
    default, own = _DEFAULT_BUDGET, {}
    for word in given:
        name, separator, number = word.rpartition("=")
        try:
            budget = float(number)
        except ValueError:
            budget = 0.0
        if not 0.0 < budget < 1.0:
            raise UsageError(f"--budget {word}: {number!r} is no share above 0 and below 1, such as 0.01")
        if separator and name not in TARGETS:
            raise UsageError(f"--budget {word}: {name!r} is not in the taxonomy; use one of {', '.join(TARGETS)}")
        if separator:
            own[name] = budget
        else:
            default = budget
    return {target: own.get(target, default) for target in TARGETS}


def propose(
    truth: pd.DataFrame, scores: pd.DataFrame, pack: PolicyPack, budgets: Mapping[str, float]
) -> tuple[Proposal, ...]:
    """One proposal for every target with scores, in the taxonomy's order. Raises DataError when there are none."""
    scored = [target for target in TARGETS if (truth[target].notna() & scores[target].notna()).any()]
    if not scored:
        raise DataError("the data hold no scored item whose truth is known")
    return tuple(_propose(name, truth[name], scores[name], levels_of(pack, name), budgets[name]) for name in scored)


def _propose(target: str, truth: pd.Series, scores: pd.Series, levels: Sequence[Level], budget: float) -> Proposal:
    harmless, harmful = scores[truth.eq(0) & scores.notna()], scores[truth.eq(1) & scores.notna()]
    current, needed = levels[0].score, math.ceil(3 / budget)  # the rule of three: none of 3/p vouches for p
    too_few = len(harmless) < needed
    warning = f"{len(harmless)} harmless items cannot vouch for {budget:.1%}: {needed} are needed" if too_few else ""
    score = above(float(np.sort(harmless)[::-1][math.floor(budget * len(harmless))])) if len(harmless) else None
    if score is not None and too_few and score < current:
        score = None  # only raised, never lowered

    def recall(threshold: float) -> float | None:
        return float((harmful >= threshold).mean()) if len(harmful) else None

    return Proposal(
        target, budget, current, score, recall(current), recall(current if score is None else score),
        len(harmless), len(harmful), warning,
    )  # fmt: skip


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

    def moved(target: str, levels: tuple[Level, ...]) -> tuple[Level, ...]:
        return proposed_levels(levels, scores[target]) if target in scores else levels

    n_items = max(one.n_harmless + one.n_harmful for one in proposals)
    return pack.model_copy(
        update={
            "name": name,
            "version": f"{pack.version[:23]}-proposed",
            "description": f"{pack.description.rstrip('.')}; thresholds proposed from {n_items} items.",
            "categories": {category: moved(category, levels) for category, levels in pack.categories.items()},
            "events": {event: moved(event, levels) for event, levels in pack.events.items()},
        }
    )


def overridden(pack: PolicyPack, proposals: Sequence[Proposal]) -> list[str]:
    """Which proposed scores an override of the pack undoes, as sentences."""
    scores = {one.target: one.score for one in proposals if one.score is not None}
    found = []
    for override in pack.overrides:
        firsts = {
            str(name): levels[0].score for name, levels in [*override.categories.items(), *override.events.items()]
        }
        lower = [name for name, score in firsts.items() if name in scores and score < scores[name]]
        if lower:
            when = override.when.model_dump(exclude_defaults=True)
            named = "; ".join(f"{key} {', '.join(values)}" for key, values in when.items())
            found.append(f"the override for {named} begins lower for {', '.join(lower)}, and was left as it is")
    return found


def levels_of(pack: PolicyPack, target: str) -> tuple[Level, ...]:
    """The pack's own levels of a target, overrides aside."""
    return pack.categories[Category(target)] if target in CATEGORIES else pack.events[Event(target)]


def write_pack(pack: PolicyPack, path: Path) -> None:
    """Writes a pack that `load_pack` reads. Raises PolicyError, OSError."""
    head = f"# Proposed by a program from scored items, not yet by a person. Made with:\n#   {command_line()}\n"
    data = yaml.safe_dump(pack.model_dump(mode="json", exclude_defaults=True), sort_keys=False, allow_unicode=True)
    path.write_text(head + data, encoding="utf-8")
    load_pack(path)


def _print(proposals: Sequence[Proposal], console: Console) -> None:
    grid = Grid("", "budget", "harmless", "now", "proposed", "recall", "then", box=None, padding=(0, 1, 0, 0))
    for one in proposals:
        proposed = "kept" if one.score is None else f"[bold]{one.score:.4f}[/]"
        recalls = ["–" if recall is None else f"{recall:.2f}" for recall in (one.current_recall, one.recall)]
        grid.add_row(one.target, f"{one.budget:.1%}", str(one.n_harmless), f"{one.current:g}", proposed, *recalls)
    console.print(grid)
    for one in proposals:
        if one.warning:
            console.print(
                f"{one.target}: {one.warning}; it is only raised, never lowered", style="yellow", markup=False
            )
