"""The commands `aircheck evaluate` and `aircheck thresholds`; they import late, as every command does."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

_data_option = partial(typer.Option, rich_help_panel="Public data")
_model_option = partial(typer.Option, rich_help_panel="Models")
_server_option = partial(typer.Option, rich_help_panel="Through a server: the committed set, and manifests")


@dataclass(frozen=True)
class Options:
    """The options of `evaluate`: declared once, as fields."""

    data: Annotated[
        str | None,
        typer.Argument(help="text, sounds or speech (public data), judge, or a manifest; else the committed set."),
    ] = None
    folders: Annotated[list[Path] | None, typer.Argument(help="Folders of the public data.")] = None
    out: Annotated[
        Path | None, typer.Option(help="Folder for results and report; out/evaluation/NAME unless given.")
    ] = None
    json: Annotated[Path | None, typer.Option(help="Write the numbers to this file too.")] = None
    markdown: Annotated[Path | None, typer.Option(help="Renew the tables between the markers of this file.")] = None
    baseline: Annotated[Path | None, typer.Option(help="report.json of an earlier run, to set beside the bounds.")] = (
        None
    )
    gate: Annotated[Path | None, typer.Option(help="YAML file of bounds; exit 1 when one is broken.")] = None
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget the results that --out holds.")] = False
    use: Annotated[str, _data_option(help="Items marked measure or train, or all.")] = "measure"
    source: Annotated[list[str] | None, _data_option(help="Only this data set; repeatable.")] = None
    head: Annotated[Path | None, _data_option(help="Other weights of the embedded classifier, from its recipe.")] = None
    pack: Annotated[str, typer.Option(help="Policy pack whose thresholds count.")] = "default"
    content_type: Annotated[str, typer.Option(help="podcast, audiobook or clip.")] = "podcast"
    market: Annotated[str, typer.Option(help="ISO 3166 country code such as SE, or * for any.")] = "*"
    profile: Annotated[str | None, _model_option(help="embedded, gpu, or a path to a YAML file.")] = None
    whisper: Annotated[str | None, _model_option(help="Official Whisper name, or a checkpoint's path.")] = None
    text_classifier: Annotated[str | None, _model_option(help="embedded, or a transformers checkpoint.")] = None
    text_labels: Annotated[Path | None, _model_option(help="Label map of --text-classifier.")] = None
    acoustic_classifier: Annotated[str | None, _model_option(help="embedded, or a transformers checkpoint.")] = None
    acoustic_labels: Annotated[Path | None, _model_option(help="Label map of --acoustic-classifier.")] = None
    judge_url: Annotated[str | None, _model_option(help="Policy judge: an OpenAI-compatible API.")] = None
    judge_model: Annotated[str | None, _model_option(help="The model to ask at --judge-url.")] = None
    url: Annotated[str | None, _server_option(help="HOST:PORT; unless given, a server is started.")] = None
    tls: Annotated[bool, _server_option("--tls", help="Connect to --url with TLS.")] = False
    token_file: Annotated[
        Path | None,
        _server_option(
            envvar="AIRCHECK_TOKEN_FILE",
            show_envvar=True,
            help="File with the server's token; without one, AIRCHECK_TOKEN.",
        ),
    ] = None
    in_flight: Annotated[int, _server_option(min=1, max=256, help="Items sent at a time.")] = 16
    window: Annotated[float | None, _server_option(min=2.0, max=30.0, help="Longest window in s.")] = None


def evaluate(**given: Any) -> None:
    """Measure how well the system hears and decides, on data whose truth is known.

    Writes report.html (for people), report.json (for programs), scores.csv.gz (every score) and results.jsonl, from
    which the same command goes on after an interruption.

    Exit code: 0 measured (and every bound of --gate held); 1 a bound was broken; 2 an error.

    [bold]Examples[/]

    The committed set through a server, against the committed bounds:

        aircheck evaluate --gate server_config/quality_gate.yaml

    Public data (docs/quality.md says in what form), one model each:

        aircheck evaluate text DATA/text --gate server_config/public_data_gate.yaml
        aircheck evaluate sounds DATA/sounds DATA/speech
        aircheck evaluate speech DATA/speech --whisper turbo

    Whether a policy judge follows the policy that it is given:

        aircheck evaluate judge --judge-url http://127.0.0.1:8100/v1 --judge-model openai/gpt-oss-safeguard-20b

    Your own catalogue, with your own checkpoints:

        aircheck evaluate catalogue/manifest.jsonl --text-classifier ./mine --text-labels mine.yaml
    """
    from aircheck.evaluation.session import run_command, run_evaluation

    raise typer.Exit(run_command(partial(run_evaluation, Options(**given))))


evaluate.__signature__ = inspect.signature(Options, eval_str=True)  # type: ignore[attr-defined]  # which typer reads


def thresholds(
    scores: Annotated[Path, typer.Argument(help="A folder that `aircheck evaluate` wrote.")],
    budget: Annotated[
        list[str] | None,
        typer.Option(help="Share of harmless items that may be flagged: 0.01 for all, or CATEGORY=0.002; repeatable."),
    ] = None,
    pack: Annotated[str, typer.Option(help="Policy pack to start from.")] = "default",
    out: Annotated[Path | None, typer.Option(help="Write the proposed pack to this file, NAME.yaml.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite --out.")] = False,
) -> None:
    """Propose a policy pack's thresholds from measured scores, for a false-positive budget.

    For every category and sound, the first level begins just above the score that the budget's share of harmless items
    exceeds; higher levels move only where they must. Too few harmless items to support a budget are said, with how many
    are needed.

        aircheck thresholds out/evaluation/text --budget 0.01 --budget violence_threat=0.002 --out mine.yaml
    """
    from aircheck.evaluation.session import run_command
    from aircheck.evaluation.thresholds import run_thresholds

    raise typer.Exit(run_command(partial(run_thresholds, scores, budget or [], pack, out, force)))
