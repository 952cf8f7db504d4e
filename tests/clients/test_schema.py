from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel, ValidationError

from aircheck_client.schema import Action, Context, Severity, Verdict, clock

RELEASED = Path(__file__).parent / "verdict_fields.txt"


def test_actions_and_severities_compare_by_gravity_not_by_name():
    assert max(Action) is Action.BLOCK
    assert min(Action) is Action.ALLOW
    assert sorted(Severity, reverse=True)[0] is Severity.CRITICAL
    assert Action.BLOCK > Action.REVIEW > Action.LIMIT > Action.LABEL_EXPLICIT > Action.ALLOW
    assert Severity.LOW <= Severity.LOW < Severity.HIGH


def test_actions_do_not_compare_with_severities():
    with pytest.raises(TypeError):
        _ = Action.BLOCK > Severity.LOW


@pytest.mark.parametrize(
    "fields", [{"market": "sweden"}, {"content_type": "video"}, {"policy_pack": "../secret"}, {"markets": "SE"}]
)
def test_a_context_takes_known_fields_and_values_alone(fields):
    with pytest.raises(ValidationError):
        Context(**fields)


@pytest.mark.parametrize(("time_s", "text"), [(0, "00:00"), (61.9, "01:01"), (3599, "59:59"), (36_000, "10:00:00")])
def test_times_are_written_as_a_player_shows_them(time_s, text):
    assert clock(time_s) == text


def models_of(annotation):
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in models_of(part)]


def fields_of(model, at=""):
    """All fields of a verdict in JSON: `findings.evidence.score` is that of each piece of evidence."""
    for name, field in model.model_fields.items():
        yield at + name
        for inner in models_of(field.annotation):
            yield from fields_of(inner, f"{at}{name}.")


def test_verdicts_in_json_keep_every_field_that_they_ever_had():
    released = RELEASED.read_text().split()
    assert len(released) == 80
    assert set(released) <= set(fields_of(Verdict))
