"""`aircheck evaluate` from its options to its exit code."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from aircheck.commands.serve import LogPrinter, stop_on_sigterm
from aircheck.policy.errors import PolicyError
from aircheck.server import Server
from aircheck.settings import Settings, SettingsError
from aircheck.triton import TritonError
from aircheck_client.client import AircheckClient
from aircheck_client.schema import Context
from benchmarks.quality import gate as gates
from benchmarks.quality import html, markdown
from benchmarks.quality import manifest as manifests
from benchmarks.quality.build import build
from benchmarks.quality.conditions import local_pack, require_pack, server_conditions
from benchmarks.quality.intervals import Measure
from benchmarks.quality.manifest import Item, Manifest, ManifestError
from benchmarks.quality.report import REPORT, Report
from benchmarks.quality.results import RESULTS, Result, ResultLog, ResultsError, Through
from benchmarks.quality.run import ItemError, Scorer, ScorerGoneError, run
from benchmarks.quality.server_scorer import Models, ServerScorer

MEASURED, BROKEN, ERROR, INTERRUPTED = 0, 1, 2, 130  # exit codes
_THROUGH: tuple[Through, ...] = get_args(Through)


class UsageError(ValueError):
    """The options do not go together, or one has a value that cannot be used."""


@dataclass(frozen=True)
class Options:
    """What the command was asked for; see its help."""

    manifest: Path | None
    out: Path | None
    through: str
    context: Mapping[str, str]
    gate: Path | None
    markdown: Path | None
    fresh: bool
    in_flight: int
    budget: float
    window_s: float | None
    models: Mapping[str, Any] = field(default_factory=dict)  # overrides of the settings
    url: str | None = None
    tls: bool = False
    token: str | None = field(default=None, repr=False)


def run_evaluation(options: Options, console: Console) -> int:
    """Measures, writes the report, checks the gate; says on `console` what it does. Returns the exit code."""
    stop_on_sigterm()
    try:
        return _evaluate(options, console)
    except KeyboardInterrupt:
        console.print("stopped; the same command goes on from here")
        return INTERRUPTED
    except (
        UsageError,
        ManifestError,
        ResultsError,
        gates.GateError,
        markdown.MarkdownError,
        SettingsError,
        PolicyError,
        TritonError,
        ScorerGoneError,
    ) as error:
        console.print(f"error: {error}", style="red", markup=False)
        return ERROR


def _evaluate(options: Options, console: Console) -> int:
    bounds = gates.read(options.gate) if options.gate else None
    if options.markdown:
        markdown.check(options.markdown)
    manifest = manifests.read(options.manifest or manifests.EMBEDDED_SET)
    settings, context = _settings(options), _context(options)
    folder = options.out or Path("out") / "quality" / _name(manifest.path)
    console.print(f"[bold]Measuring[/] {manifest.path} ({len(manifest.items)} items) through {options.through}")
    with _scorer(options, settings, context, console) as scorer:
        results = _run(manifest, scorer, folder, options.fresh, console)
        conditions = scorer.conditions
    if not results:
        raise UsageError(f"{manifest.path}: holds no item that {options.through} can score")
    pack = local_pack(context.policy_pack, settings)
    rules = pack.for_context(context) if pack and conditions.pack_sha256 else None
    report = build(
        results, conditions, manifest=manifest.path, command=command_line(), rules=rules, budget=options.budget
    )
    (folder / REPORT).write_text(report.model_dump_json(indent=1) + "\n", encoding="utf-8")
    outcomes = gates.check(report.figures, bounds) if bounds else []
    page = html.render(report, manifest.path.parent, outcomes, str(options.gate))
    (folder / html.PAGE).write_text(page, encoding="utf-8")
    _summarise(report, console)
    if options.markdown:
        plots = markdown.renew(options.markdown, report, outcomes)
        console.print(f"written: {options.markdown} and {len(plots)} plots beside it")
    console.print(f"written: {folder / html.PAGE}, {folder / REPORT}, {folder / RESULTS}")
    return _gate(outcomes, console) if outcomes else MEASURED


def _name(manifest: Path) -> str:
    """The name of a run: "embedded", the file's, or for a manifest.jsonl its folder's."""
    if manifest == manifests.EMBEDDED_SET:
        return "embedded"
    return manifest.resolve().parent.name if manifest.stem == "manifest" else manifest.stem


def _settings(options: Options) -> Settings:
    if options.through not in _THROUGH:
        raise UsageError(f"--through {options.through!r}: use one of {', '.join(_THROUGH)}")
    if options.url and (options.through != "server" or options.models):
        given = ", ".join(f"--{name.replace('_', '-')}" for name in options.models) or f"--through {options.through}"
        raise UsageError(f"--url measures the models that the server has; leave out {given}, or --url")
    return Settings.load(
        grpc_port=0, http_port=0, metrics_port=0, host="127.0.0.1", window_max_s=options.window_s, **options.models
    )


def _context(options: Options) -> Context:
    try:
        return Context.model_validate(dict(options.context))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = {"policy_pack": "pack"}.get(str(first["loc"][0]), str(first["loc"][0]).replace("_", "-"))
        raise UsageError(f"--{name} {first['input']!r}: {first['msg']}") from None


@contextmanager
def _scorer(options: Options, settings: Settings, context: Context, console: Console) -> Iterator[Scorer]:
    """Raises UsageError, and what starting a server or loading a model raises."""
    window_s = settings.window_max_s
    if options.through != "server":
        yield _one_model(options, settings, context, window_s, console)
    elif options.url:
        yield _server_scorer(options.url, options, context, settings, False, window_s)
    else:
        require_pack(context.policy_pack, settings)
        console.print(f"[bold]Starting Triton[/] on free ports of {settings.host} (profile {settings.profile})")
        started = time.monotonic()
        with Server(settings, on_log=LogPrinter(console)) as server:
            console.print(f"ready after {time.monotonic() - started:.1f} s")
            yield _server_scorer(server.url, options, context, server.settings, True, window_s)


def _one_model(options: Options, settings: Settings, context: Context, window_s: float, console: Console) -> Scorer:
    from aircheck.inference.acoustic_safety.errors import LabelMapError as AcousticLabelMapError
    from aircheck.inference.acoustic_safety.errors import WeightsError
    from aircheck.inference.text_safety.errors import CheckpointError, LabelMapError
    from aircheck.inference.whisper.weights.checkpoint import CheckpointError as WhisperCheckpointError
    from benchmarks.quality import model_scorers

    console.print(f"[bold]Loading[/] {options.through}")
    through = next(name for name in _THROUGH if name == options.through)
    try:
        return model_scorers.load(through, settings, context, window_s)
    except (
        CheckpointError, LabelMapError, WhisperCheckpointError, AcousticLabelMapError, WeightsError
    ) as error:  # fmt: skip
        raise UsageError(str(error)) from None


def _server_scorer(
    url: str, options: Options, context: Context, settings: Settings, local: bool, window_s: float
) -> Scorer:
    token = options.token or (settings.token.get_secret_value() if settings.token else None)
    try:
        with AircheckClient(url, tls=options.tls, token=token) as client:
            if not client.ready():
                raise UsageError(f"no server is ready at {url}; start one with `aircheck serve`, or leave out --url")
    except ValueError as error:
        raise UsageError(str(error)) from None
    models = Models(url, options.tls, token)
    try:
        terms = server_conditions(models, context, settings, local, window_s)
        scorer = ServerScorer(models, terms, options.in_flight)
        scorer.score(Item(id="probe", text="hello"), None)  # an unknown pack is found before any work is done
    except ItemError as error:
        raise UsageError(f"the server at {url} does not do as it should: {error}") from None
    return scorer


def _run(manifest: Manifest, scorer: Scorer, folder: Path, fresh: bool, console: Console) -> tuple[Result, ...]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with (
        ResultLog(folder, scorer.conditions, fresh) as log,
        Progress(*columns, TextColumn("left"), TimeRemainingColumn(), console=console, transient=True) as progress,
    ):
        task = progress.add_task("scoring", total=sum(scorer.takes(item) for item in manifest.items))

        def on_result(result: Result | None) -> None:
            progress.advance(task)
            if result and result.error:
                progress.console.print(f"  {result.item.id}: {result.error}", style="red", markup=False)

        return run(manifest, scorer, log, on_result)


def command_line() -> str:
    """As it was typed, without the token."""
    words, secret = [], False
    for word in sys.argv[1:]:
        words.append("…" if secret else "--token=…" if word.startswith("--token=") else word)
        secret = word == "--token"
    here = os.getcwd() + os.sep
    return shlex.join(["aircheck", *(word.removeprefix(here) for word in words)])


def _summarise(report: Report, console: Console) -> None:
    table = Table(
        "", "items", "precision", "recall", f"at {report.budget * 100:g} % FPR", "avg. precision", "ECE", box=None
    )
    for target in report.targets:
        if target.positives:
            measures = (target.precision, target.recall, target.recall_at_budget, target.average_precision)
            cells = ["–" if one.value is None else f"{one.value:.2f}" for one in (*measures, target.calibration.error)]
            table.add_row(target.name, str(target.positives), *cells)
    if table.row_count:
        console.print(table)
    lines = [
        ("word error rate", report.wer),
        ("clean items flagged", report.clean_flagged),
        ("hard negatives flagged", report.hard_negatives_flagged),
        ("hard negative sounds flagged", report.hard_negative_sounds_flagged),
        ("words heard where nobody speaks", report.hallucinated),
    ]
    for name, measure in lines:
        if measure.value is not None:
            console.print(f"{name}: [bold]{said(measure)}[/] (of {measure.n})")
    if report.faults:
        console.print(f"{len(report.faults)} items could not be scored; they are named in the report", style="red")
    if report.embedded_classifiers:
        console.print(
            "Measured with embedded classifiers, which were trained on text and sounds of this project's making: these "
            "figures say little about recordings of people.",
            style="yellow",
        )


def said(measure: Measure) -> str:
    """`0.82 (0.74–0.90)`."""
    if measure.value is None:
        return "–"
    interval = f" ({measure.low:.2f}–{measure.high:.2f})" if measure.low is not None else ""
    return f"{measure.value:.2f}{interval}"


def _gate(outcomes: Sequence[gates.Outcome], console: Console) -> int:
    table = Table("bound", "", "measured", "", box=None)
    for one in outcomes:
        measured = "not measured" if one.value is None else f"{one.value:.3f}"
        verdict = "[green]pass[/]" if one.passed else "[bold red]broken[/]"
        table.add_row(one.name, one.bound, measured, verdict)
    console.print(table)
    broken = [one for one in outcomes if not one.passed]
    if broken:
        console.print(f"[bold red]{len(broken)} of {len(outcomes)} bounds broken[/]")
        return BROKEN
    console.print(f"[bold green]all {len(outcomes)} bounds held[/]")
    return MEASURED
