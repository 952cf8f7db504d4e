"""`aircheck evaluate` from its options to its exit code."""

from __future__ import annotations

import gzip
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path

import pandas as pd
from pydantic import ValidationError
from rich.console import Console
from rich.progress import Progress
from rich.table import Table as Grid

from aircheck.commands.serve import stop_on_sigterm
from aircheck.evaluation import gate as gates
from aircheck.evaluation import scorers, steerability, table
from aircheck.evaluation.cli import Options
from aircheck.evaluation.figures import figures, under_speech
from aircheck.evaluation.items import COMMITTED_SET, EvaluationError, Item, Kind, Result, UsageError
from aircheck.evaluation.readers import read_manifest, read_public
from aircheck.evaluation.report import Measured, Report, read_values
from aircheck.evaluation.results import ResultLog
from aircheck.evaluation.scorers import Scorer, ServerScorer, SoundScorer
from aircheck.inference.acoustic_safety.errors import AcousticError
from aircheck.inference.text_safety.errors import TextSafetyError
from aircheck.inference.whisper.weights.checkpoint import CheckpointError
from aircheck.policy.errors import PolicyError
from aircheck.policy.judge_endpoint import judge_of
from aircheck.policy.packs import PackLibrary
from aircheck.reports import MarkdownBlock, MarkdownError
from aircheck.server import Server, StartError
from aircheck.settings import Settings, SettingsError
from aircheck_client.client import AircheckClient
from aircheck_client.errors import AircheckError
from aircheck_client.schema import Context

MEASURED, BROKEN, ERROR, INTERRUPTED = 0, 1, 2, 130  # exit codes
PAGE, NUMBERS = "report.html", "report.json"
_FAULTS = (
    EvaluationError, MarkdownError, SettingsError, PolicyError, StartError, AircheckError,
    AcousticError, TextSafetyError, CheckpointError,
)  # fmt: skip
_SETTINGS_OF = {
    Kind.TEXT: ("text_classifier", "text_labels"),
    Kind.SOUNDS: ("acoustic_classifier", "acoustic_labels"),
    Kind.SPEECH: ("whisper",),
    Kind.JUDGE: ("judge_url", "judge_model"),
}


def kind_of(options: Options) -> Kind | None:
    """None for a manifest, which goes through a server."""
    return next((kind for kind in Kind if kind == options.data), None)


def title_of(options: Options) -> str:
    path = Path(options.data or "committed")
    return path.resolve().parent.name if path.stem == "manifest" else path.stem


def settings_of(options: Options) -> Settings:
    """The environment's, and the options in their place. Raises UsageError where options do not go together."""
    kind = kind_of(options)
    names = ("profile", *chain(*_SETTINGS_OF.values()))
    models = {name: value for name in names if (value := getattr(options, name)) is not None}
    flags = {name: f"--{name.replace('_', '-')}" for name in models}
    if options.url and (kind or flags):
        given = ", ".join(flags.values()) or kind
        raise UsageError(f"--url measures the models that the server has; leave out {given}, or --url")
    asked = {"--tls": options.tls, "--in-flight": options.in_flight != Options.in_flight, "--window": options.window}
    if kind and (idle := [flag for flag, is_given in asked.items() if is_given]):
        raise UsageError(f"{idle[0]}: {kind} asks no server; leave it out")
    if options.url and options.window:
        raise UsageError("--window: the server at --url has its own; leave one of them out")
    if options.tls and not options.url:
        raise UsageError("--tls: the server that is started here has none; give --url, or leave it out")
    if kind and (unused := flags.keys() - {"profile", *_SETTINGS_OF[kind]}):
        raise UsageError(f"{flags[min(unused)]}: {kind} does not use it")
    if kind in (None, Kind.JUDGE) and (options.folders or options.source or options.head):
        raise UsageError(
            f"{title_of(options)}: takes no folders, --source or --head; they go with text, sounds or speech"
        )
    if kind not in (None, Kind.JUDGE) and not options.folders:
        raise UsageError(f"{kind}: give the folder of the data")
    if options.head and kind is Kind.SPEECH:
        raise UsageError("--head: Whisper has none; use --whisper")
    return Settings.load(grpc_port=0, metrics_port=0, host="127.0.0.1", window_max_s=options.window, **models)


def run_command(work: Callable[[Console], int]) -> int:
    """Runs a command, which says on a console what it does. Returns its exit code."""
    console = Console(highlight=False)
    stop_on_sigterm()
    try:
        return work(console)
    except KeyboardInterrupt:
        console.print("stopped; the same command goes on from here")
        return INTERRUPTED
    except _FAULTS as error:
        console.print(f"error: {error}", style="red", markup=False)
        return ERROR


def run_evaluation(options: Options, console: Console) -> int:
    """Measures, writes the report, checks the gate. Returns the exit code; raises what `run_command` says."""
    settings, title = settings_of(options), title_of(options)
    bounds = gates.read(options.gate, title) if options.gate else {}
    before = read_values(options.baseline) if options.baseline else {}
    block = MarkdownBlock(options.markdown, f"figures {title}") if options.markdown else None
    folder = options.out or Path("out") / "evaluation" / title
    if kind_of(options) is Kind.JUDGE:
        measured = steerability.measure(judge_of(settings))
    else:
        measured = _scored(options, settings, folder, console)
    report = Report(title, command_line(), measured, gates.check(measured.figures, bounds), before)
    written = {folder / PAGE: report.html(), folder / NUMBERS: report.json()}
    if options.json:
        written[options.json] = report.json()
    if measured.table:
        written[folder / table.SCORES] = measured.table.csv()
    for path, text in written.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    if block:
        block.write(report.markdown())
    for heading, shown in reversed(report.summary()):  # the bounds last, where the eye is
        grid = Grid(*map(str, shown.columns), title=heading, title_justify="left", box=None)
        for row in shown.itertuples(index=False):
            cells = [str(cell).partition(" (")[0] for cell in row]  # intervals are in the report
            grid.add_row(*(cell.replace("**no**", "[bold red]no[/]") for cell in cells))
        console.print(grid)
    console.print(f"written: {', '.join(map(str, written))}")
    if n_broken := sum(not one.passed for one in report.outcomes):
        console.print(f"[bold red]{n_broken} of {len(report.outcomes)} bounds broken[/]")
        return BROKEN
    if bounds:
        console.print(f"[bold green]all {len(report.outcomes)} bounds held[/]")
    return MEASURED


def _scored(options: Options, settings: Settings, folder: Path, console: Console) -> Measured:
    """The data's items, scored by a model or through a server, and what the pack makes of them."""
    context = _context(options)
    pack = PackLibrary(settings.policy_dir)[context.policy_pack]
    if kind := kind_of(options):
        items = read_public(kind, options.folders or (), options.use, options.source or ())
    else:
        items = read_manifest(Path(options.data) if options.data else COMMITTED_SET)
    console.print(f"[bold]Measuring[/] {title_of(options)}: {len(items)} items")
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


def _context(options: Options) -> Context:
    try:
        return Context(policy_pack=options.pack, content_type=options.content_type, market=options.market)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0]).removeprefix("policy_").replace("_", "-")
        raise UsageError(f"--{name} {first['input']!r}: {first['msg']}") from None


@contextmanager
def _scorer(options: Options, settings: Settings, context: Context, console: Console) -> Iterator[Scorer]:
    """Raises UsageError, and what starting a server or loading a model raises."""
    if kind := kind_of(options):
        yield scorers.load(kind, settings, options.head)
        return
    with ExitStack() as stack:
        if options.url:
            try:
                token = (
                    options.token_file.read_text().strip() if options.token_file else os.environ.get("AIRCHECK_TOKEN")
                )
                client = stack.enter_context(AircheckClient(options.url, tls=options.tls, token=token))
            except (ValueError, OSError) as error:
                raise UsageError(str(error)) from None
            if not client.ready():
                raise UsageError(
                    f"no server is ready at {options.url}; start one with `aircheck serve`, or leave out --url"
                )
        else:
            console.print(f"[bold]Starting Triton[/] on free ports of {settings.host} (profile {settings.profile})")
            started = time.monotonic()
            server = stack.enter_context(Server(settings, log="short"))
            client = stack.enter_context(AircheckClient(server.url))
            console.print(f"ready after {time.monotonic() - started:.1f} s")
        texts = scorers.load(Kind.TEXT, settings, None)
        yield ServerScorer(client, context, options.in_flight, texts)


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
    sources = sorted({item.source for item in items})
    named = ", ".join(sources) if len(sources) <= 6 else f"{len(sources)} sources"
    minutes = sum(result.duration_s or 0.0 for result in results) / 60
    return f"{len(items)} items of {named}" + (f", {minutes:.1f} min of audio" if minutes else "")


def command_line() -> str:
    """As it was typed."""
    here = os.getcwd() + os.sep
    return shlex.join(["aircheck", *(word.removeprefix(here) for word in sys.argv[1:])])
