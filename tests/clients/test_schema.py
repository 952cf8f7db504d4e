import pytest
from pydantic import ValidationError

from aircheck_client.schema import Action, Context, Severity, clock


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
