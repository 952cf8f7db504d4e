"""Whether a request is still waited for."""

import json

from aircheck.inference.abandonment import PARAMETER, abandonment


def test_a_request_is_abandoned_when_its_file_is_gone(tmp_path):
    ticket = tmp_path / "window"
    ticket.touch()
    is_abandoned = abandonment(json.dumps({PARAMETER: str(ticket)}))
    assert not is_abandoned()
    ticket.unlink()
    assert is_abandoned()


def test_a_request_that_names_no_file_cannot_be_asked():
    assert abandonment("") is None
    assert abandonment('{"priority": 1}') is None
    assert abandonment(json.dumps({PARAMETER: 3})) is None
