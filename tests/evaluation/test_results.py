"""A run that was broken off goes on where it stopped, and never with results of something else."""

from __future__ import annotations

import pytest

from aircheck.evaluation.items import DataError, Item, Result
from aircheck.evaluation.results import RESULTS, ResultLog

ITEMS = [Item(str(n), "set", {}, (f"text {n}",)) for n in range(3)]


def result(item, **fields):
    return Result(id=item.id, fingerprint=item.fingerprint(), scores={"hate": 0.5}, **fields)


def run(folder, items, conditions, **options):
    with ResultLog(folder, conditions, **options) as log:
        for item in items:
            log.add(result(item))


def left(folder, items=ITEMS, conditions=(("text_safety", "a 1"),), **options):
    with ResultLog(folder, dict(conditions), **options) as log:
        return [item.id for item in log.left(items)]


@pytest.fixture
def folder(tmp_path):
    run(tmp_path, ITEMS[:2], {"text_safety": "a 1"})
    return tmp_path


def test_what_is_finished_is_not_scored_again(folder):
    assert left(folder) == ["2"]
    with ResultLog(folder, {"text_safety": "a 1"}) as log:
        log.add(result(ITEMS[2]))
        assert log.of(ITEMS) == [result(item) for item in ITEMS]
    assert left(folder) == []


def test_another_text_or_an_error_is_scored_again(folder):
    changed = Item("0", "set", {}, ("another text",))
    assert left(folder, [changed, *ITEMS[1:]]) == ["0", "2"]
    with ResultLog(folder, {"text_safety": "a 1"}) as log:
        log.add(Result(id="1", fingerprint="", error="broken"))
    assert left(folder) == ["1", "2"]


@pytest.mark.parametrize("change", [{"conditions": (("text_safety", "a 2"),)}, {"fresh": True}])
def test_results_of_other_conditions_are_forgotten(folder, change):
    assert left(folder, **change) == ["0", "1", "2"]


def test_a_line_torn_by_an_interruption_is_dropped(folder):
    with (folder / RESULTS).open("a") as file:
        file.write('{"id": "2", "fing')
    assert left(folder) == ["2"]
    run(folder, ITEMS[2:], {"text_safety": "a 1"})
    assert left(folder) == []


def test_a_line_separator_in_a_transcript_does_not_end_its_line(folder):
    with ResultLog(folder, {"text_safety": "a 1"}) as log:
        log.add(result(ITEMS[0], transcript="one\u2028two"))
        log.add(result(ITEMS[2]))
    assert left(folder) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="give another --out"):
        ResultLog(tmp_path / "file", {})
