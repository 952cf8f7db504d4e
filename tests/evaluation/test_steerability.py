"""A judge's steerability, measured by the command against a real endpoint whose answers the test decides."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from aircheck.evaluation.cli import evaluate
from aircheck.evaluation.session import NUMBERS, PAGE
from aircheck.evaluation.steerability import CASES, DIFFERS, EXCEPTS, FORBIDS
from support.evaluate import run
from support.judge_server import answer, judge_server

POLICIES = {case.passage: case.policies for case in CASES}


def asked_under(prompt: str, said: dict[str, str]) -> str:
    """Which of a passage's policies the prompt holds; the whole policy, since two differ by a line."""
    (name,) = (name for name, policy in POLICIES[said["passage"]].items() if f"\n{policy}\n</policy>" in prompt)
    return name


@pytest.fixture
def measured(tmp_path):
    def measure(reply: Callable[[str], object], *options: object):
        with judge_server(lambda prompt, said: reply(asked_under(prompt, said))) as server:
            judge = ("--judge-url", server.url, "--judge-model", "m")
            code, printed = run(evaluate, "judge", *judge, "--out", tmp_path, *options)
            assert len(server.requests) == 3 * len(CASES)
        report = json.loads((tmp_path / NUMBERS).read_text())
        return code, printed, report, (tmp_path / PAGE).read_text()

    return measure


def values(report) -> dict[str, float | None]:
    names = ["followed", *(f"policy={name}.followed" for name in (FORBIDS, EXCEPTS, DIFFERS))]
    return {name: figure["value"] for name, figure in report["figures"].items() if name in names}


def test_a_judge_that_follows_the_policy_follows_it_in_every_case(measured, tmp_path):
    gate = tmp_path / "gate.yaml"
    gate.write_text("judge: {followed: {min: 0.9}, errors: {max: 0}}\n")
    code, printed, report, page = measured(lambda policy: answer(policy == FORBIDS), "--gate", gate)
    assert code == 0, printed
    assert set(values(report).values()) == {1.0}
    followed = report["figures"]["followed"]
    assert (followed["hits"], followed["of"]) == (len(CASES), len(CASES))
    assert 0.85 < followed["low"] < followed["high"] == 1.0
    assert report["conditions"]["policy_judge"].startswith("m, ")
    assert "By policy" in page
    assert "<svg" in page
    assert all(f"<td>{case.subject}</td>" in page for case in CASES)


@pytest.mark.parametrize("violates", [True, False])
def test_a_judge_with_a_mind_of_its_own_follows_it_in_none(measured, violates):
    code, _, report, _ = measured(lambda policy: answer(violates))
    assert code == 0
    wrong = dict.fromkeys((f"policy={name}.followed" for name in (EXCEPTS, DIFFERS)), 0.0 if violates else 1.0)
    assert values(report) == wrong | {"followed": 0.0, f"policy={FORBIDS}.followed": float(violates)}


def test_a_judge_that_overlooks_exclusions_breaks_the_gate(measured, tmp_path):
    gate = tmp_path / "gate.yaml"
    gate.write_text("followed: {min: 0.9}\n")
    code, printed, report, _ = measured(lambda policy: answer(policy != DIFFERS), "--gate", gate)
    assert (code, values(report)[f"policy={EXCEPTS}.followed"]) == (1, 0.0)
    assert "1 of 1 bounds broken" in printed


def test_cases_without_all_their_answers_do_not_count(measured):
    _, _, report, page = measured(lambda policy: 500 if policy == DIFFERS else answer(policy == FORBIDS))
    assert values(report) == {f"policy={name}.followed": 1.0 for name in (FORBIDS, EXCEPTS)} | {"followed": None}
    assert report["figures"]["errors"]["value"] == len(CASES)
    assert len(report["faults"]) == len(CASES)
    assert "it answered with HTTP 500" in page


def test_every_passage_has_policies_of_its_own():
    assert len(POLICIES) == len(CASES) >= 30  # so that the report shows percentages
    for policies in POLICIES.values():
        assert len(set(policies.values())) == 3
        assert set(policies[FORBIDS].splitlines()) < set(policies[EXCEPTS].splitlines())
