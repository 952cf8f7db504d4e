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
from typing import Any

import pandas as pd
from pydantic import ValidationError
from rich.console import Console
from rich.progress import Progress
from rich.table import Table as Grid

from aircheck.commands.serve import stop_on_sigterm
from aircheck.evaluation import gate as gates
from aircheck.evaluation import manifest, public_data, steerability, table, through_models
from aircheck.evaluation.figures import figures, under_speech
from aircheck.evaluation.items import COMMITTED_SET, DataError, Item, Kind, Result
from aircheck.evaluation.report import Measured, Report, read_values
from aircheck.evaluation.results import ResultLog
from aircheck.evaluation.through_models import Scorer, SoundScorer
from aircheck.evaluation.through_server import ItemError, ServerGoneError, ServerScorer
from aircheck.inference.acoustic_safety.errors import AcousticError, WeightsError
from aircheck.inference.acoustic_safety.errors import LabelMapError as AcousticLabelMapError
from aircheck.inference.text_safety.errors import CheckpointError, LabelMapError
from aircheck.inference.whisper.weights.checkpoint import CheckpointError as WhisperCheckpointError
from aircheck.policy.errors import PolicyError
from aircheck.policy.judge_endpoint import judge_of
from aircheck.policy.packs import PackLibrary
from aircheck.reports import MarkdownBlock, MarkdownError
from aircheck.server import Server, StartError
from aircheck.settings import Settings, SettingsError
from aircheck_client.client import AircheckClient
from aircheck_client.schema import Context

MEASURED, BROKEN, ERROR, INTERRUPTED = 0, 1, 2, 130  # exit codes
PAGE, NUMBERS = "report.html", "report.json"
_LOAD_ERRORS = (
    AcousticError, AcousticLabelMapError, CheckpointError, LabelMapError, WeightsError, WhisperCheckpointError
)  # fmt: skip


_SETTINGS_OF = {
    Kind.TEXT: ("profile", "text_classifier", "text_labels"),
    Kind.SOUNDS: ("profile", "acoustic_classifier", "acoustic_labels"),
    Kind.SPEECH: ("profile", "whisper"),
    Kind.JUDGE: ("profile", "judge_url", "judge_model"),
}


class UsageError(ValueError):
    """The options do not go together, or one has a value that cannot be used."""


@dataclass(frozen=True)
class Options:
    """What the command was asked for; see its help."""

    data: str | None
    folders: tuple[Path, ...]
    use: str
    sources: tuple[str, ...]
    head: Path | None
    out: Path | None
    json: Path | None
    markdown: Path | None
    baseline: Path | None
    gate: Path | None
    fresh: bool
    context: Mapping[str, str]
    in_flight: int
    window_s: float | None
    models: Mapping[str, Any] = field(default_factory=dict)  # overrides of the settings
    url: str | None = None
    tls: bool = False
    token_file: Path | None = None

    @property
    def kind(self) -> Kind | None:
        """None for a manifest, which goes through a server."""
        return next((kind for kind in Kind if kind == self.data), None)

    @property
    def title(self) -> str:
        if self.kind or self.data is None:
            return self.kind or "committed"
        path = Path(self.data)
        return path.resolve().parent.name if path.stem == "manifest" else path.stem


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
        DataError,
        MarkdownError,
        gates.GateError,
        SettingsError,
        PolicyError,
        StartError,
        ItemError,
        ServerGoneError,
        *_LOAD_ERRORS,
    ) as error:
        console.print(f"error: {error}", style="red", markup=False)
        return ERROR


def _evaluate(options: Options, console: Console) -> int:
    bounds = gates.read(options.gate, options.title) if options.gate else {}
    before = read_values(options.baseline) if options.baseline else {}
    block = MarkdownBlock(options.markdown, f"figures {options.title}") if options.markdown else None
    settings = _settings(options)
    folder = options.out or Path("out") / "evaluation" / options.title
    measured = _judge(options, settings) if options.kind is Kind.JUDGE else _scored(options, settings, folder, console)
    report = Report(options.title, command_line(), measured, gates.check(measured.figures, bounds), before)
    written = [folder / PAGE, folder / NUMBERS]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / PAGE).write_text(report.html(), encoding="utf-8")
    for path in {folder / NUMBERS, options.json or folder / NUMBERS}:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(report.json(), encoding="utf-8")
    if measured.table:
        written.append(folder / table.SCORES)
        measured.table.write(folder / table.SCORES)
    if block:
        block.write(report.markdown())
    for title, shown in report.summary():
        _print(title, shown, console)
    console.print(f"written: {', '.join(map(str, written))}")
    return _gate(report.outcomes, console) if bounds else MEASURED


def _scored(options: Options, settings: Settings, folder: Path, console: Console) -> Measured:
    """The data's items, scored by a model or through a server, and what the pack makes of them."""
    context = _context(options)
    pack = PackLibrary(settings.policy_dir)[context.policy_pack]
    items = _items(options)
    console.print(f"[bold]Measuring[/] {options.title}: {len(items)} items")
    with _scorer(options, settings, context, console) as scorer:
        results = _results(items, scorer, folder, options.fresh, console)
        mixed = scorer.under_speech(items) if isinstance(scorer, SoundScorer) else {}
        languages, conditions = scorer.languages, dict(scorer.conditions)
    conditions.setdefault("pack", f"{pack.name} {pack.version}")
    conditions["data"] = _described(items, results)
    rules = pack.for_context(context)
    scores = table.build(items, results, rules)
    faults = [f"{one.id}: {one.error}" for one in results if one.error]
    found = [figures(scores, languages, len(faults))]
    found += [under_speech(louder_db, table.build(*both, rules)) for louder_db, both in mixed.items()]
    return Measured(conditions, faults, pd.concat(found, ignore_index=True), scores)


def _judge(options: Options, settings: Settings) -> Measured:
    """Whether the policy judge of the settings follows the policy."""
    if options.folders or options.sources or options.head:
        raise UsageError("judge: takes no folders, --source or --head; its passages are its own")
    judge = judge_of(settings)
    if judge is None:
        raise UsageError("judge: give --judge-url and --judge-model, or AIRCHECK_JUDGE_URL and AIRCHECK_JUDGE_MODEL")
    return steerability.measure(judge)


def _items(options: Options) -> tuple[Item, ...]:
    if options.kind is None:
        if options.folders or options.sources or options.head:
            raise UsageError(f"{options.data}: folders, --source and --head go with text, sounds or speech")
        return manifest.read(Path(options.data) if options.data else COMMITTED_SET)
    if not options.folders:
        raise UsageError(f"{options.kind}: give the folder of the data")
    if options.head and options.kind == "speech":
        raise UsageError("--head: Whisper has none; use --whisper")
    return public_data.read(options.kind, options.folders, options.use, options.sources)


def _settings(options: Options) -> Settings:
    if options.url and (options.kind or options.models):
        given = ", ".join(f"--{name.replace('_', '-')}" for name in options.models) or str(options.kind)
        raise UsageError(f"--url measures the models that the server has; leave out {given}, or --url")
    if options.kind and (unused := [name for name in options.models if name not in _SETTINGS_OF[options.kind]]):
        raise UsageError(f"--{unused[0].replace('_', '-')}: {options.kind} does not use it")
    return Settings.load(grpc_port=0, metrics_port=0, host="127.0.0.1", window_max_s=options.window_s, **options.models)


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
    if options.kind:
        yield through_models.load(options.kind, settings, options.head)
    elif options.url:
        with _remote(options.url, options, settings, context) as scorer:
            yield scorer
    else:
        console.print(f"[bold]Starting Triton[/] on free ports of {settings.host} (profile {settings.profile})")
        started = time.monotonic()
        with Server(settings, log="short") as server, AircheckClient(server.url) as client:
            console.print(f"ready after {time.monotonic() - started:.1f} s")
            texts = through_models.load(Kind.TEXT, settings, None)
            yield ServerScorer(client, context, options.in_flight, texts)


@contextmanager
def _remote(url: str, options: Options, settings: Settings, context: Context) -> Iterator[ServerScorer]:
    try:
        token = options.token_file.read_text().strip() if options.token_file else os.environ.get("AIRCHECK_TOKEN")
        client = AircheckClient(url, tls=options.tls, token=token)
    except (ValueError, OSError) as error:
        raise UsageError(str(error)) from None
    with client:
        if not client.ready():
            raise UsageError(f"no server is ready at {url}; start one with `aircheck serve`, or leave out --url")
        yield ServerScorer(client, context, options.in_flight, through_models.load(Kind.TEXT, settings, None))


def _results(items: Sequence[Item], scorer: Scorer, folder: Path, fresh: bool, console: Console) -> list[Result]:
    """Of all items, in order; those that an earlier try finished are not scored again."""
    with ResultLog(folder, scorer.conditions, fresh) as log, Progress(console=console, transient=True) as progress:
        left = log.left(items)
        task = progress.add_task("scoring", total=len(items), completed=len(items) - len(left))
        for result in scorer(left):
            log.add(result)
            progress.advance(task)
            if result.error:
                progress.console.print(f"  {result.id}: {result.error}", style="red", markup=False)
        return log.of(items)


def _described(items: Sequence[Item], results: Sequence[Result]) -> str:
    sources = {item.source for item in items}
    named = ", ".join(sorted(sources)) if len(sources) <= 6 else f"{len(sources)} sources"
    minutes = sum(result.duration_s or 0.0 for result in results) / 60
    return f"{len(items)} items of {named}" + (f", {minutes:.1f} min of audio" if minutes else "")


def command_line() -> str:
    """As it was typed."""
    here = os.getcwd() + os.sep
    return shlex.join(["aircheck", *(word.removeprefix(here) for word in sys.argv[1:])])


def _print(title: str, shown: pd.DataFrame, console: Console) -> None:
    grid = Grid(*map(str, shown.columns), title=title, title_justify="left", box=None)
    for row in shown.itertuples(index=False):
        grid.add_row(*(str(cell).partition(" (")[0] for cell in row))  # intervals are in the report
    console.print(grid)


def _gate(outcomes: Sequence[gates.Outcome], console: Console) -> int:
    grid = Grid("bound", "", "measured", "", box=None)
    for one in outcomes:
        measured = "not measured" if one.value is None else f"{one.value:.3f}"
        grid.add_row(one.name, one.bound, measured, "[green]pass[/]" if one.passed else "[bold red]broken[/]")
    console.print(grid)
    broken = [one for one in outcomes if not one.passed]
    if broken:
        console.print(f"[bold red]{len(broken)} of {len(outcomes)} bounds broken[/]")
        return BROKEN
    console.print(f"[bold green]all {len(outcomes)} bounds held[/]")
    return MEASURED
