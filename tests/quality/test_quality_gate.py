"""A gate holds what it must and is not silenced by a slip of the pen."""

import pytest

from aircheck.settings import ROOT
from benchmarks.quality.gate import GateError, check, read

FIGURES = {"wer": 0.2, "recall.macro": 0.8, "slices.sex.female.wer": 0.3, "slices.sex.male.wer": 0.1, "ece": None}


def gate(tmp_path, text):
    path = tmp_path / "gate.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("bound", "passed"),
    [
        ("wer: {max: 0.2}", True),  # inclusive
        ("wer: {max: 0.19}", False),
        ("recall.macro: {min: 0.8}", True),
        ("recall.macro: {min: 0.81}", False),
        ("recall.macro: {min: 0.7, max: 0.75}", False),
        ("ece: {max: 1.0}", False),  # not measured is not passed
    ],
)
def test_a_bound_is_kept_or_broken(tmp_path, bound, passed):
    (outcome,) = check(FIGURES, read(gate(tmp_path, bound)))
    assert outcome.passed is passed


def test_a_star_bounds_every_value_of_a_slice(tmp_path):
    outcomes = check(FIGURES, read(gate(tmp_path, "slices.sex.*.wer: {max: 0.2}")))
    assert {one.name: one.passed for one in outcomes} == {"slices.sex.female.wer": False, "slices.sex.male.wer": True}


def test_a_star_leaves_out_values_without_the_figure_unless_none_has_it(tmp_path):
    figures = {"slices.kind.harmful.recall": 0.9, "slices.kind.plain.recall": None}
    bounds = read(gate(tmp_path, "slices.kind.*.recall: {min: 0.5}"))
    assert [one.passed for one in check(figures, bounds)] == [True]
    assert [one.passed for one in check({"slices.kind.plain.recall": None}, bounds)] == [False]


def test_a_figure_that_does_not_exist_is_an_error_with_a_hint(tmp_path):
    with pytest.raises(GateError, match="'recal.macro': this run has no such figure; did you mean recall.macro"):
        check(FIGURES, read(gate(tmp_path, "recal.macro: {min: 0.1}")))
    with pytest.raises(GateError, match="no such figure"):
        check(FIGURES, read(gate(tmp_path, "slices.age.*.wer: {max: 0.1}")))


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
    ],
)
def test_a_faulty_gate_file_is_refused(tmp_path, text, words):
    with pytest.raises(GateError, match="gate.yaml") as error:
        read(gate(tmp_path, text))
    assert words in str(error.value)


def test_the_committed_gate_can_be_read():
    assert read(ROOT / "server_config" / "quality_gate.yaml")
