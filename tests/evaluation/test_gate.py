"""A gate holds what it must and is not silenced by a slip of the pen."""

from __future__ import annotations

import pandas as pd
import pytest

from aircheck.evaluation.gate import GateError, check, read
from aircheck.settings import ROOT

FIGURES = pd.DataFrame(
    [
        ("wer", 0.2, 40),
        ("categories.recall", 0.8, 40),
        ("kind=a_nh.false_alarms", 0.3, 40),
        ("kind=b_nh.false_alarms", 0.1, 40),
        ("kind=c_nh.false_alarms", 0.9, 3),
        ("hate.auc", None, 40),
    ],
    columns=["name", "value", "n"],
)


def gate(tmp_path, text):
    path = tmp_path / "gate.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("bound", "passed"),
    [
        ("wer: {max: 0.2}", True),  # inclusive
        ("wer: {max: 0.19}", False),
        ("categories.recall: {min: 0.81}", False),
        ("categories.recall: {min: 0.7, max: 0.75}", False),
        ("hate.auc: {min: 0.0}", False),  # not measured is not passed
    ],
)
def test_a_bound_is_kept_or_broken(tmp_path, bound, passed):
    (outcome,) = check(FIGURES, read(gate(tmp_path, bound), "text"))
    assert outcome.passed is passed


def test_a_star_bounds_every_part_that_rests_on_enough_items(tmp_path):
    outcomes = check(FIGURES, read(gate(tmp_path, "kind=*_nh.false_alarms: {max: 0.2}"), "text"))
    assert {one.name: one.passed for one in outcomes} == {
        "kind=a_nh.false_alarms": False,
        "kind=b_nh.false_alarms": True,
    }


@pytest.mark.parametrize("name", ["categorie.recall", "age=*.wer"])
def test_a_figure_that_this_run_does_not_have_breaks_its_bound(tmp_path, name):
    (outcome,) = check(FIGURES, read(gate(tmp_path, f"{name}: {{min: 0.0}}"), "text"))
    assert (outcome.name, outcome.value, outcome.passed) == (name, None, False)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("wer: {maximum: 0.2}", "wer.maximum"),
        ("wer: {}", "give min, max or both"),
        ("wer: {min: 1, max: 0}", "min 1 is above max 0"),
        ("wer: 0.2", "a bound is"),
        ("wer: {max: '0.2'}", "wer.max"),
        ("wer: [", "not valid YAML"),
        ("", "holds no bounds"),
        ("sounds: {wer: {max: 0.2}}", "holds no bounds for text"),
    ],
)
def test_a_faulty_gate_file_is_refused(tmp_path, text, words):
    with pytest.raises(GateError, match="gate.yaml") as error:
        read(gate(tmp_path, text), "text")
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("quality", "committed"), *(("public_data", kind) for kind in ("text", "sounds", "speech"))],
)
def test_the_committed_gates_can_be_read(name, kind):
    assert read(ROOT / "server_config" / f"{name}_gate.yaml", kind)
