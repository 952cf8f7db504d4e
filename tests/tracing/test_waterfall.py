"""A trace as a person sees it."""

from __future__ import annotations

from rich.console import Console

from aircheck.tracing.names import CALL_ID, GATEWAY, MODELS
from aircheck.tracing.reading import Span, Trace
from aircheck.tracing.waterfall import BAR_WIDTH, waterfall


def span(id: str, parent: str, name: str, times_s: tuple[float, float], service: str = GATEWAY, **more: object) -> Span:
    return Span("t", id, parent, service, name, *times_s, is_error=False, attributes=more)


def shown(trace: Trace, max_windows: int) -> list[str]:
    console = Console(width=160, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(waterfall(trace, max_windows))
    return console.export_text().splitlines()


TRACE = Trace(
    "t",
    (
        span("1", "elsewhere", "Scan", (100.0, 110.0), **{CALL_ID: "4711"}),
        span("2", "1", "window", (100.0, 105.0), start_s=0.0),
        span("3", "2", "whisper", (102.5, 105.0), MODELS),
        span("4", "1", "window", (105.0, 106.0), start_s=90.0),
    ),
)


def line(lines: list[str], name: str) -> str:
    return next(line for line in lines if line.lstrip().startswith(name))


def test_each_span_has_a_bar_where_and_as_long_as_it_was():
    lines = shown(TRACE, 9)
    assert "Scan, 10.000 s" in lines[0]
    assert "4711" in lines[0]
    root, whisper = line(lines, "Scan  "), line(lines, "whisper")
    begin = root.index("━")
    assert root.count("━") == BAR_WIDTH
    assert whisper.count("━") == BAR_WIDTH // 4
    assert whisper.index("━") - begin == BAR_WIDTH // 4
    assert whisper.split()[-2:] == ["2.500", "2.500"]  # from, took


def test_windows_are_named_by_their_place_and_the_longest_are_shown():
    lines = shown(TRACE, 1)
    assert line(lines, "window 00:00")
    assert not any("window 01:30" in one for one in lines)
    assert any("1 shorter windows: --windows 2" in one for one in lines)
    assert any("window 01:30" in one for one in shown(TRACE, 2))


def test_stages_are_summed_whether_shown_or_not():
    lines = shown(TRACE, 0)
    windows = [one.split() for one in lines if one.split()[:1] == ["window"]]
    assert windows == [["window", "2", "6.000", "5.000"]]
