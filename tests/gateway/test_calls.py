"""What the log says of a call."""

from __future__ import annotations

import logging

from aircheck.gateway.calls import CallLog


def test_lines_carry_the_id_and_the_callers_own_name_in_one_line(caplog):
    log = CallLog("4711")
    with caplog.at_level(logging.INFO, "aircheck.gateway"):
        log.info("begins")
        log.key = "upload 7\nforged"
        log.info("ended")
    assert [record.getMessage() for record in caplog.records] == ["4711 begins", "4711 'upload 7\\nforged' ended"]
