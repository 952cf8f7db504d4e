"""The commands `aircheck evaluate` and `aircheck thresholds`; they import late, as every command does."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_MODELS = "Models"
_SERVER = "A server that runs already"


def evaluate(
    manifest: Annotated[
        Path | None,
        typer.Argument(help="JSONL file, one labelled item a line; without it, the embedded set.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for results and report; out/quality/NAME unless given.")
    ] = None,
    through: Annotated[
        str, typer.Option(help="server (end to end), or one model alone: whisper, text_safety, acoustic_safety.")
    ] = "server",
    pack: Annotated[str, typer.Option(help="Policy pack to decide by.")] = "default",
    content_type: Annotated[str, typer.Option(help="podcast, audiobook or clip.")] = "podcast",
    market: Annotated[str, typer.Option(help="ISO 3166 country code such as SE, or * for any.")] = "*",
    gate: Annotated[Path | None, typer.Option(help="YAML file of bounds; exit 1 when one is broken.")] = None,
    markdown: Annotated[
        Path | None, typer.Option(help="Renew the figures between the markers of this Markdown file, and its plots.")
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Forget results that --out holds, and measure all anew.")
    ] = False,
    in_flight: Annotated[int, typer.Option(min=1, max=256, help="Items sent at a time.")] = 16,
    budget: Annotated[
        float, typer.Option(min=0.0001, max=0.5, help="False-positive rate that recall is measured at.")
    ] = 0.01,
    window: Annotated[
        float | None, typer.Option(min=2.0, max=30.0, help="Longest window in s; what suits the Whisper unless given.")
    ] = None,
    profile: Annotated[
        str | None, typer.Option(rich_help_panel=_MODELS, help="embedded, gpu, or a path to a YAML file.")
    ] = None,
    whisper: Annotated[
        str | None, typer.Option(rich_help_panel=_MODELS, help="embedded, an official name, or a path.")
    ] = None,
    text_classifier: Annotated[
        str | None, typer.Option(rich_help_panel=_MODELS, help="embedded, or a transformers checkpoint.")
    ] = None,
    text_labels: Annotated[
        Path | None, typer.Option(rich_help_panel=_MODELS, help="Label map of --text-classifier.")
    ] = None,
    acoustic_classifier: Annotated[
        str | None, typer.Option(rich_help_panel=_MODELS, help="embedded, or a transformers checkpoint.")
    ] = None,
    acoustic_labels: Annotated[
        Path | None, typer.Option(rich_help_panel=_MODELS, help="Label map of --acoustic-classifier.")
    ] = None,
    url: Annotated[
        str | None, typer.Option(rich_help_panel=_SERVER, help="HOST:PORT; unless given, a server is started.")
    ] = None,
    tls: Annotated[bool, typer.Option("--tls", rich_help_panel=_SERVER, help="Connect to --url with TLS.")] = False,
    token: Annotated[
        str | None,
        typer.Option(rich_help_panel=_SERVER, envvar="AIRCHECK_TOKEN", show_envvar=True, help="The server's token."),
    ] = None,
) -> None:
    """Measure how well the system hears and decides, on items whose truth you know.

    Writes report.html (one page, for people), report.json (for programs) and results.jsonl (every score). Interrupted,
    it goes on where it stopped when started again.

    Exit code: 0 measured (and every bound of --gate held); 1 a bound was broken; 2 an error.

    [bold]Examples[/]

    The embedded set, end to end, against the committed bounds:

        aircheck evaluate --gate server_config/quality_gate.yaml

    Your own catalogue with your own checkpoints:

        aircheck evaluate catalogue/manifest.jsonl --whisper turbo --text-classifier ./mine --text-labels mine.yaml

    One model alone, for word error rates or for the text classifier on perfect transcripts:

        aircheck evaluate manifest.jsonl --through whisper
        aircheck evaluate manifest.jsonl --through text_safety

    [bold]A manifest[/] has an item a line, audio (a path beside it) or text:

        {"id": "a1", "audio": "a1.mp3", "transcript": "i will find you", "slices": {"sex": "female"},
         "labels": [{"category": "violence_threat", "start_s": 0.4, "end_s": 1.6}]}
        {"id": "t1", "text": "we shoot the film on friday", "labels": [], "slices": {"kind": "hard negative"}}
    """
    from rich.console import Console

    from benchmarks.quality.session import Options, run_evaluation

    models = {
        "profile": profile,
        "whisper": whisper,
        "text_classifier": text_classifier,
        "text_labels": text_labels,
        "acoustic_classifier": acoustic_classifier,
        "acoustic_labels": acoustic_labels,
    }
    options = Options(
        manifest=manifest,
        out=out,
        through=through,
        context={"policy_pack": pack, "content_type": content_type, "market": market},
        gate=gate,
        markdown=markdown,
        fresh=fresh,
        in_flight=in_flight,
        budget=budget,
        window_s=window,
        models={name: value for name, value in models.items() if value is not None},
        url=url,
        tls=tls,
        token=token,
    )
    raise typer.Exit(run_evaluation(options, Console(highlight=False)))


def thresholds(
    results: Annotated[Path, typer.Argument(help="results.jsonl of `aircheck evaluate`, or the folder it lies in.")],
    budget: Annotated[
        list[str] | None,
        typer.Option(help="Share of clean items that may be flagged: 0.01 for all, or CATEGORY=0.002; repeatable."),
    ] = None,
    pack: Annotated[str, typer.Option(help="Policy pack to start from.")] = "default",
    out: Annotated[Path | None, typer.Option(help="Write the proposed pack to this file, NAME.yaml.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite --out.")] = False,
) -> None:
    """Propose a policy pack's thresholds from measured scores, for a false-positive budget.

    For every category and sound, the first level begins just above the score that the budget's share of clean items
    exceeds; higher levels move only where they must. With each proposal come its interval and the recall to expect.
    Too few clean items to support a budget are said, with how many are needed.

    [bold]Examples[/]

    At most 1 % of clean items flagged, in any category:

        aircheck thresholds out/quality/catalogue

    A stricter budget where a false alarm costs more, written as a pack:

        aircheck thresholds out/quality/catalogue --budget 0.01 --budget violence_threat=0.002 --out mine.yaml
    """
    from rich.console import Console

    from benchmarks.quality.propose import run_thresholds

    raise typer.Exit(run_thresholds(results, budget or [], pack, out, force, Console(highlight=False)))
