"""The figures of a report inside a Markdown file, between two markers, with its plots as files beside it.

What stands around the markers is a person's; what stands between them is never typed by hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.quality.gate import Outcome
from benchmarks.quality.html import duration, figure, slice_plots, words
from benchmarks.quality.intervals import Measure
from benchmarks.quality.plots import precision_recall, reliability, sheet
from benchmarks.quality.report import Gap, Report, SliceKey

BEGIN = "<!-- figures: begin (written by `aircheck evaluate --markdown`; edits are lost) -->"
END = "<!-- figures: end -->"


class MarkdownError(ValueError):
    """A Markdown file cannot take the figures; the message says why and what to do."""


def check(path: Path) -> None:
    """Raises MarkdownError unless the file has both markers, once, in order."""
    _split(path)


def renew(path: Path, report: Report, outcomes: Sequence[Outcome]) -> tuple[Path, ...]:
    """Puts the figures between the markers, and the plots into a folder named after the file; returns the plots.

    Raises MarkdownError, OSError.
    """
    before, after = _split(path)
    folder = path.with_suffix("")
    folder.mkdir(exist_ok=True)
    drawn = {name: plot for name, plot in _plots(report).items() if plot}
    for name, svg in drawn.items():
        (folder / name).write_text(svg, encoding="utf-8")
    text = "\n".join([BEGIN, "", *_text(report, outcomes, folder.name, set(drawn)), "", END])
    path.write_text(before + text + after, encoding="utf-8")
    return tuple(folder / name for name in drawn)


def _split(path: Path) -> tuple[str, str]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise MarkdownError(f"{path}: cannot be read: {error.strerror}") from None
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise MarkdownError(f"{path}: has no place for the figures; write these two lines into it:\n{BEGIN}\n{END}")
    return before, after


def _plots(report: Report) -> dict[str, str]:
    curves = [precision_recall(one) for one in report.targets if one.curve]
    names = {"speech": "categories of speech", "sound": "sounds"}
    dots = [reliability(names[kind], one) for kind, one in report.calibration.items() if one.bins]
    plots = {}
    if curves:
        plots["precision_recall.svg"] = sheet(curves, 4, "Precision-recall curves").alone()
    if dots:
        plots["reliability.svg"] = sheet(dots, 2, "Reliability diagrams").alone()
    for key in report.slices:
        if charts := slice_plots(key):
            plots[_file(key)] = sheet(charts, 1, f"Figures by {words(key.key)}").alone()
    return plots


def _file(key: SliceKey) -> str:
    kept = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in key.key)
    return f"slice_{kept}.svg"


def _text(report: Report, outcomes: Sequence[Outcome], folder: str, drawn: set[str]) -> list[str]:
    return [
        *_conditions(report),
        *_headline(report),
        *_bounds(outcomes),
        *_targets(report),
        *_picture(
            "Precision and recall at every threshold; the dot is the pack's", folder, "precision_recall.svg", drawn
        ),
        *_places(report),
        *_picture("Reliability: the share that is true against the score", folder, "reliability.svg", drawn),
        *_slices(report, folder, drawn),
        *_identity(report),
    ]


def _conditions(report: Report) -> list[str]:
    conditions, counts = report.conditions, report.counts
    pack = f"{conditions.context.policy_pack} v{conditions.pack_version}" if conditions.pack_version else "none"
    return [
        f"Measured on {report.created[:10]} by `{report.command}`: {counts.items} items of {cell(report.manifest)} "
        f"({counts.audio} of audio, {duration(counts.audio_s)}; {counts.text} of text; {counts.clean} with nothing "
        f"unsafe in them; {counts.errors} that could not be scored), through {conditions.through}, pack {pack}.",
        "",
        "Models: " + "; ".join(cell(str(model)) for model in conditions.models) + ".",
        "",
    ]


def _headline(report: Report) -> list[str]:
    rows = [
        ("word error rate", report.wer),
        ("words heard where nobody speaks", report.hallucinated),
        ("clean items flagged", report.clean_flagged),
        ("hard negatives flagged", report.hard_negatives_flagged),
        ("hard negative sounds flagged", report.hard_negative_sounds_flagged),
        *(
            (f"expected calibration error, {kind}", one.error)
            for kind, one in report.calibration.items()
            if one.error.value is not None
        ),
    ]
    macros = [
        (f"{words(name.replace('.macro', ''))}, mean", value)
        for name, value in report.figures.items()
        if name.endswith(".macro") and "overlap" not in name and value is not None
    ]
    lines = ["| figure | value | 95 % interval | of |", "|---|---|---|---|"]
    lines += [
        f"| {name} | {figure(one.value, True)} | {interval(one)} | {one.n} |"
        for name, one in rows
        if one.value is not None
    ]
    lines += [f"| {name} | {figure(value, True)} | | |" for name, value in macros]
    return [*lines, ""]


def _bounds(outcomes: Sequence[Outcome]) -> list[str]:
    if not outcomes:
        return []
    lines = ["| bound | | measured | held |", "|---|---|---|---|"]
    for one in outcomes:
        value = "not measured" if one.value is None else f"{one.value:.3f}"
        lines.append(f"| `{one.name}` | {one.bound} | {value} | {'yes' if one.passed else '**no**'} |")
    return [*lines, ""]


def _targets(report: Report) -> list[str]:
    budget = f"recall at {report.budget * 100:g} % FPR"
    shown = [one for one in report.targets if one.positives]
    if not shown:
        return []
    lines = [
        f"| | items | precision | recall | {budget} | false positives | average precision | ECE |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for one in shown:
        shares = (one.precision, one.recall, one.recall_at_budget, one.false_positive_rate)
        cells = [both(measure) for measure in shares]
        cells += [both(one.average_precision, False), both(one.calibration.error, False)]
        lines.append(f"| {one.name} | {one.positives} | {' | '.join(cells)} |")
    return [*lines, ""]


def _places(report: Report) -> list[str]:
    shown = [one for one in report.targets if one.overlap.value is not None or one.event_f1.value is not None]
    if not shown:
        return []
    lines = ["| | overlap in time | start off by, s | event F1 | onset F1 |", "|---|---|---|---|---|"]
    for one in shown:
        cells = [both(measure, False) for measure in (one.overlap, one.start_error_s, one.event_f1, one.onset_f1)]
        lines.append(f"| {one.name} | {' | '.join(cells)} |")
    return [*lines, ""]


def _slices(report: Report, folder: str, drawn: set[str]) -> list[str]:
    lines = []
    for key in report.slices:
        lines += [
            f"| {cell(words(key.key))} | items | recall | gap | false positives | gap | word error rate | gap |",
            "|---|---|---|---|---|---|---|---|",
        ]
        for one in key.values:
            cells = [
                both(one.recall), _gap(one.recall_gap), both(one.false_positive_rate), _gap(one.false_positive_gap),
                both(one.wer), _gap(one.wer_gap),
            ]  # fmt: skip
            lines.append(f"| {cell(one.value)} | {one.items} | {' | '.join(cells)} |")
        lines += ["", *_picture(f"Figures by {cell(words(key.key))}", folder, _file(key), drawn)]
    return lines


def _identity(report: Report) -> list[str]:
    if report.identity is None:
        return []
    lines = ["| group | category that moves most | mean shift of its score |", "|---|---|---|"]
    for one in report.identity.shifts:
        lines.append(f"| {cell(one.term)} | {one.category} | {both(one.shift, False)} |")
    differ = both(report.identity.decisions_differ)
    said = (
        f"{report.identity.sentences} fixed sentences about several groups each; the decision depended on the group in"
    )
    return [f"{said} {differ} of them.", "", *lines, ""]


def _picture(title: str, folder: str, name: str, drawn: set[str]) -> list[str]:
    return [f"![{title}]({folder}/{name})", ""] if name in drawn else []


def _gap(gap: Gap | None) -> str:
    if gap is None:
        return ""
    said = both(gap.measure)
    return f"**{said}**" if gap.clear else said


def both(measure: Measure, percent: bool = True) -> str:
    """A figure and its interval."""
    if measure.value is None:
        return "–"
    shown = interval(measure, percent)
    return figure(measure.value, percent) + (f" ({shown})" if shown else "")


def interval(measure: Measure, percent: bool = True) -> str:
    """`71 to 85 %`, or nothing."""
    if measure.low is None or measure.high is None:
        return ""
    return f"{figure(measure.low, percent).removesuffix(' %')} to {figure(measure.high, percent)}"


def cell(text: str) -> str:
    """Words from outside as the text of a table's cell."""
    plain = " ".join(text.split())
    return "".join("\\" + letter if letter in "\\`*_[]<>|#" else letter for letter in plain)
