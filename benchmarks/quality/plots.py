"""Plots as SVG, written by hand so that they follow the page's colours, light or dark, and need nothing to be drawn.

Colours are CSS variables. In the report the page defines them; a plot that stands alone brings STYLE with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from benchmarks.quality.calibration import Calibration
from benchmarks.quality.intervals import Measure
from benchmarks.quality.report import Target

LIGHT = "--ink:#1f2430;--soft:#5d6675;--line:#d9dde4;--page:#ffffff;--accent:#2563a8;--mark:#b4480f;--fill:#2563a81f"
DARK = "--ink:#e6e8ec;--soft:#a2abb9;--line:#3a414d;--page:#14171c;--accent:#7ab4f0;--mark:#f0955f;--fill:#7ab4f026"
STYLE = Markup(
    f"<style>svg{{{LIGHT};background:var(--page)}}@media(prefers-color-scheme:dark){{svg{{{DARK}}}}}"
    "text{font:11px system-ui,sans-serif;fill:var(--ink)}.soft{fill:var(--soft)}</style>"
)


@dataclass(frozen=True)
class Row:
    """A line of a forest plot."""

    label: str
    measure: Measure
    emphasis: bool = False


class _Frame:
    """A unit square, drawn at `left`, `top` with side lengths in px; y grows upwards."""

    def __init__(self, left: float, top: float, width: float, height: float):
        self.left, self.top, self.width, self.height = left, top, width, height

    def at(self, x: float, y: float) -> str:
        return f"{self.left + x * self.width:.1f},{self.top + (1 - y) * self.height:.1f}"

    def x(self, x: float) -> float:
        return round(self.left + x * self.width, 1)

    def y(self, y: float) -> float:
        return round(self.top + (1 - y) * self.height, 1)

    def axes(self, x_name: str, y_name: str) -> Markup:
        parts = [Markup('<g stroke="var(--line)" stroke-width="1">')]
        for tick in (0.0, 0.5, 1.0):
            parts.append(_line(self.x(tick), self.y(0), self.x(tick), self.y(1)))
            parts.append(_line(self.x(0), self.y(tick), self.x(1), self.y(tick)))
        parts.append(Markup("</g>"))
        for tick in (0.0, 0.5, 1.0):
            parts.append(_text(self.x(tick), self.y(0) + 14, f"{tick:g}", "middle", soft=True))
            parts.append(_text(self.x(0) - 5, self.y(tick) + 4, f"{tick:g}", "end", soft=True))
        parts.append(_text(self.x(0.5), self.y(0) + 28, x_name, "middle", soft=True))
        across = f"{self.left - 26:.1f} {self.y(0.5)}"
        parts.append(
            Markup('<text class="soft" text-anchor="middle" transform="translate({}) rotate(-90)">{}</text>').format(
                across, y_name
            )
        )
        return Markup("").join(parts)


def precision_recall(target: Target) -> Plot:
    """The curve, where the pack's threshold lies on it, and where the false-positive budget does."""
    frame = _Frame(40, 26, 180, 140)
    parts = [_text(40, 15, f"{target.name} ({target.positives})"), frame.axes("recall", "precision")]
    points = " ".join(frame.at(point.recall, point.precision) for point in target.curve)
    if target.curve:
        start = frame.at(0, target.curve[0].precision)
        line = '<polyline points="{} {}" fill="none" stroke="var(--accent)" stroke-width="2" stroke-linejoin="round"/>'
        parts.append(Markup(line).format(start, points))
    if target.recall.value is not None and target.precision.value is not None:
        dot = '<circle cx="{}" cy="{}" r="4.5" fill="var(--mark)" stroke="var(--page)" stroke-width="1.5"/>'
        parts.append(Markup(dot).format(frame.x(target.recall.value), frame.y(target.precision.value)))
    said = (
        f"Precision-recall curve of {target.name}: average precision {_number(target.average_precision)}, "
        f"at the pack's threshold precision {_number(target.precision)} and recall {_number(target.recall)}."
    )
    return Plot(236, 204, said, tuple(parts))


def reliability(title: str, calibration: Calibration) -> Plot:
    """The share that is true against the score; dots grow with how many items they hold."""
    frame = _Frame(44, 26, 200, 200)
    diagonal = '<path d="M{} L{}" stroke="var(--soft)" stroke-dasharray="4 4"/>'
    parts = [_text(44, 15, title), frame.axes("score", "share that is true")]
    parts.append(Markup(diagonal).format(frame.at(0, 0), frame.at(1, 1)))
    points = " ".join(frame.at(one.score, one.true) for one in calibration.bins)
    line = '<polyline points="{}" fill="none" stroke="var(--accent)" stroke-width="2"/>'
    parts.append(Markup(line).format(points))
    total = sum(one.n for one in calibration.bins) or 1
    for one in calibration.bins:
        radius = round(3 + 9 * (one.n / total) ** 0.5, 1)
        dot = '<circle cx="{}" cy="{}" r="{}" fill="var(--fill)" stroke="var(--accent)"><title>{}</title></circle>'
        said = f"{one.n} scores of {one.score:.2f} on average, {one.true * 100:.0f} % true"
        parts.append(Markup(dot).format(frame.x(one.score), frame.y(one.true), radius, said))
    error = _number(calibration.error)
    return Plot(262, 264, f"Reliability diagram, {title}: expected calibration error {error}.", tuple(parts))


def forest(title: str, rows: Sequence[Row], most: float = 1.0) -> Plot:
    """Figures with their intervals, one below the other, on a scale from 0 to `most`."""
    left, width, step = 220, 260, 22
    frame = _Frame(left, 22, width, step * len(rows))
    parts = [_text(left, 13, title)]
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        ends = (frame.x(tick), frame.y(1), frame.x(tick), frame.y(0))
        parts.append(Markup('<g stroke="var(--line)">{}</g>').format(_line(*ends)))
        parts.append(_text(frame.x(tick), frame.y(0) + 14, f"{tick * most:g}", "middle", soft=True))
    for index, row in enumerate(rows):
        y = 22 + step * (index + 0.5)
        parts.append(_text(left - 10, y + 4, _short(row.label), "end"))
        if row.measure.value is None:
            parts.append(_text(left + 4, y + 4, "not measured", soft=True))
            continue
        colour = "var(--mark)" if row.emphasis else "var(--accent)"
        low, high = (row.measure.low, row.measure.high)
        if low is not None and high is not None:
            ends = (frame.x(_within(low / most)), y, frame.x(_within(high / most)), y)
            parts.append(Markup('<g stroke="{}" stroke-width="2">{}</g>').format(colour, _line(*ends)))
        dot = '<circle cx="{}" cy="{}" r="4.5" fill="{}"/>'
        parts.append(Markup(dot).format(frame.x(_within(row.measure.value / most)), round(y, 1), colour))
        parts.append(_text(left + width + 8, y + 4, f"{row.measure.value:.2f}"))
        parts.append(_text(left + width + 40, y + 4, f"n={row.measure.n}", soft=True))
    said = f"{title}: " + "; ".join(f"{row.label} {_number(row.measure)}" for row in rows)
    return Plot(left + width + 92, 22 + step * len(rows) + 22, said, tuple(parts))


@dataclass(frozen=True)
class Plot:
    """A drawing of a size, and what it shows, in words."""

    width: int
    height: int
    said: str
    parts: tuple[Markup, ...]

    def __html__(self) -> str:
        """For a page that defines the colours."""
        return self._svg(Markup(""), "")

    def alone(self) -> str:
        """A file of its own."""
        return self._svg(STYLE, "")

    def at(self, x: int, y: int) -> Markup:
        """As a part of another drawing."""
        return Markup(self._svg(Markup(""), f'x="{x}" y="{y}" '))

    def _svg(self, style: Markup, place: str) -> str:
        head = Markup(
            '<svg xmlns="http://www.w3.org/2000/svg" {place}viewBox="0 0 {w} {h}" width="{w}" height="{h}" role="img" '
            'aria-label="{said}">'
        ).format(place=Markup(place), w=self.width, h=self.height, said=self.said)
        return str(head + style + Markup("").join(self.parts) + Markup("</svg>\n"))


def sheet(plots: Sequence[Plot], columns: int, said: str) -> Plot:
    """Drawings side by side, row by row."""
    parts, top, width = [], 0, 0
    for first in range(0, len(plots), columns):
        row = plots[first : first + columns]
        left = 0
        for plot in row:
            parts.append(plot.at(left, top))
            left += plot.width + 12
        width = max(width, left)
        top += max(plot.height for plot in row) + 12
    return Plot(width, top, said, tuple(parts))


def _line(x1: float, y1: float, x2: float, y2: float) -> Markup:
    return Markup('<line x1="{}" y1="{}" x2="{}" y2="{}"/>').format(x1, round(y1, 1), x2, round(y2, 1))


def _text(x: float, y: float, words: str, anchor: str = "start", soft: bool = False) -> Markup:
    kind = Markup(' class="soft"') if soft else Markup("")
    return Markup('<text x="{}" y="{}" text-anchor="{}"{}>{}</text>').format(
        round(x, 1), round(y, 1), anchor, kind, escape(words)
    )


def _number(measure: Measure) -> str:
    return "not measured" if measure.value is None else f"{measure.value:.2f}"


def _short(label: str) -> str:
    return label if len(label) <= 32 else label[:31] + "…"


def _within(share: float) -> float:
    return min(1.0, max(0.0, share))
