"""The three forms of a report hold the same figures, and no data."""

from __future__ import annotations

import json

import pytest
from evaluation_tables import line, table_of

from aircheck.evaluation.figures import figures
from aircheck.evaluation.gate import Outcome
from aircheck.evaluation.report import Measured, Report, read_values
from aircheck.reports import MarkdownBlock, MarkdownError

PAIRS = [
    line(
        f"<b>{n}",
        {"hate": n % 2 == 0},
        {"hate": 0.9 if n % 4 < 2 else 0.1},
        slices={"kind": "few" if n < 5 else "many"},
    )
    for n in range(80)
]


@pytest.fixture(scope="module")
def report():
    table = table_of(PAIRS)
    measured = Measured({"text_safety": "a 1"}, ["q: broken"], figures(table), table)
    outcomes = [Outcome("hate.recall", "≥ 0.9", 0.5, False)]
    return Report("text", "aircheck evaluate <x>", measured, outcomes, {"hate.recall": 0.25})


def test_the_numbers_are_json_by_name(report, tmp_path):
    content = json.loads(report.json())
    (tmp_path / "report.json").write_text(report.json())
    assert read_values(tmp_path / "report.json")["hate.recall"] == 0.5
    recall = content["figures"]["hate.recall"]
    assert (recall["value"], recall["hits"], recall["of"], recall["n"]) == (0.5, 20, 40, 40)
    assert recall["low"] < 0.5 < recall["high"]
    assert content["conditions"] == {"text_safety": "a 1"}
    assert content["gate"][0]["passed"] is False
    assert content["faults"] == ["q: broken"]


def test_the_page_has_plots_and_escapes_what_it_is_given(report):
    page = report.html()
    assert page.startswith("<!doctype html>")
    assert "Precision and recall" in page
    assert "<svg" in page
    assert "<b>no</b>" in page  # the broken bound
    assert "&lt;b&gt;" in page  # an id
    assert "evaluate &lt;x&gt;" in page
    assert "words" not in page.partition("The worst misses")[2].partition("</table>")[0]  # ids, never texts


def test_a_slice_of_few_items_is_shown_as_counts(report, tmp_path):
    path = tmp_path / "quality.md"
    path.write_text("before\n<!-- figures text: begin -->old<!-- figures text: end -->\nafter\n")
    MarkdownBlock(path, "figures text").write(report.markdown())
    text = path.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "old" not in text
    assert "| hate.recall | ≥ 0.9 | 0.25 | 0.50 | **no** |" in text
    assert "50 % (35 to 65)" in text
    page = report.html()
    few, many = (next(row for row in page.split("<tr>") if f"<td>{name}</td>" in row) for name in ("few", "many"))
    assert "2 of 3" in few
    assert "%" not in few
    assert "%" in many


@pytest.mark.parametrize("text", [None, "<!-- figures sounds: begin --><!-- figures sounds: end -->"])
def test_a_file_without_the_markers_is_refused(tmp_path, text):
    path = tmp_path / "quality.md"
    if text:
        path.write_text(text)
    with pytest.raises(MarkdownError, match=r"quality\.md"):
        MarkdownBlock(path, "figures text")
