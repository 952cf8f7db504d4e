"""`aircheck thresholds` from its options to its exit code."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from aircheck.policy.errors import PolicyError
from aircheck.settings import Settings, SettingsError
from benchmarks.quality.conditions import require_pack
from benchmarks.quality.manifest import TARGETS
from benchmarks.quality.results import CONDITIONS, RESULTS, ResultsError, read_conditions, read_results
from benchmarks.quality.session import ERROR, MEASURED, UsageError, command_line, said
from benchmarks.quality.thresholds import Proposal, ThresholdsError, overridden, propose, proposed_pack, write_pack

DEFAULT_BUDGET = 0.01


def run_thresholds(
    source: Path, budgets: Sequence[str], pack_name: str, out: Path | None, force: bool, console: Console
) -> int:
    """Prints the proposals, and writes the pack when `out` is given. Returns the exit code."""
    try:
        wanted = parse_budgets(budgets)
        pack = require_pack(pack_name, Settings.load())
        results = read_results(source)
        proposals = propose(results, pack, wanted)
        _print(proposals, pack_name, console)
        remarks = overridden(pack, proposals)
        if embedded := _embedded(source):
            remarks.append(embedded)
        for remark in remarks:
            console.print(remark, style="yellow", markup=False)
        if out is not None:
            if out.exists() and not force:
                raise UsageError(f"{out} exists; give another --out, or --force to overwrite it")
            n_scored = sum(result.error is None for result in results)
            text = f"{pack.description.rstrip('.')}; thresholds proposed from {n_scored} items."
            comment = _comment(proposals, remarks)
            write_pack(proposed_pack(pack, proposals, out.stem, text), out, comment)
            console.print(f"written: {out}; read it, raise its version, and put it into the folder of the packs")
    except (UsageError, ResultsError, ThresholdsError, SettingsError, PolicyError) as error:
        console.print(f"error: {error}", style="red", markup=False)
        return ERROR
    except OSError as error:
        console.print(f"error: {out}: cannot be written: {error.strerror}", style="red", markup=False)
        return ERROR
    return MEASURED


def parse_budgets(given: Sequence[str]) -> dict[str, float]:
    """`0.01` for all, `violence_threat=0.002` for one. Raises UsageError."""
    default, own = DEFAULT_BUDGET, {}
    for word in given:
        name, separator, number = word.rpartition("=")
        try:
            budget = float(number)
        except ValueError:
            budget = 0.0
        if not 0.0 < budget < 1.0:
            raise UsageError(f"--budget {word}: {number!r} is no share above 0 and below 1, such as 0.01")
        if not separator:
            default = budget
        elif name in TARGETS:
            own[name] = budget
        else:
            raise UsageError(f"--budget {word}: {name!r} is not in the taxonomy; use one of {', '.join(TARGETS)}")
    return {target: own.get(target, default) for target in TARGETS}


def _print(proposals: Sequence[Proposal], pack: str, console: Console) -> None:
    table = Table("", "budget", "clean", "now", "proposed", "95 %", "recall", "then", box=None, padding=(0, 1, 0, 0))
    for one in proposals:
        proposed = "kept" if one.score is None else f"[bold]{one.score:.4f}[/]"
        interval = "–" if one.interval is None else f"{one.interval[0]:.2f}–{one.interval[1]:.2f}"
        cells = (f"{one.budget * 100:g} %", str(one.clean), f"{one.current:g}", proposed, interval)
        recalls = ["–" if found.value is None else f"{found.value:.2f}" for found in (one.current_recall, one.recall)]
        table.add_row(one.target, *cells, *recalls)
    for column in table.columns:
        column.no_wrap = True
    console.print(table)
    console.print(
        "recall: at the pack's threshold, then at the proposed one; a pack written with --out has its intervals"
    )
    for warning, targets in _by_warning(proposals).items():
        console.print(f"{', '.join(targets)}: {warning}", style="yellow", markup=False)


def _by_warning(proposals: Sequence[Proposal]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for one in proposals:
        for warning in one.warnings:
            found.setdefault(warning, []).append(one.target)
    return found


def _embedded(source: Path) -> str:
    """A warning where the scores are known to come from embedded weights."""
    folder = source if source.is_dir() else source.parent
    if source.name not in (RESULTS, folder.name) or not (folder / CONDITIONS).is_file():
        return ""
    if any(model.embedded for model in read_conditions(folder).models):
        return "The scores come from embedded classifiers, trained on synthetic data: thresholds for others differ."
    return ""


def _comment(proposals: Sequence[Proposal], remarks: Sequence[str]) -> str:
    lines = ["Proposed by a program from scored items, not yet by a person. Made with:", "  " + command_line(), ""]
    for one in proposals:
        if one.score is None:
            lines.append(f"{one.target}: {one.current:g} kept")
        else:
            lines.append(
                f"{one.target}: {one.score:.4f} for {one.budget * 100:g} % of {one.clean} clean items; recall "
                f"{said(one.recall)} of {one.positives}"
            )
    lines += [f"{', '.join(targets)}: {warning}" for warning, targets in _by_warning(proposals).items()]
    return "\n".join(wrapped for line in [*lines, *remarks] for wrapped in textwrap.wrap(line, 116) or [""])
