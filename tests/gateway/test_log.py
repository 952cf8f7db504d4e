"""What the log says of a call."""

from __future__ import annotations

import asyncio
import logging

from aircheck.gateway import log


def test_every_line_of_a_call_bears_its_id_and_the_callers_own_name_in_one_line(caplog, monkeypatch):
    caplog.handler.addFilter(log.add_call)
    caplog.handler.setFormatter(logging.Formatter("%(call)s%(message)s"))

    async def part():
        log.LOG.info("in a task of its own: %d", 1)

    async def call(call_id, key):
        log.begin(call_id)
        log.LOG.info("begins")
        await asyncio.sleep(0)
        log.begin(call_id, key)
        await asyncio.create_task(part())

    async def main():
        await asyncio.gather(*(asyncio.create_task(call(*who)) for who in (("4711", "upload 7\n%d"), ("4712", ""))))
        log.LOG.info("of none")

    with caplog.at_level(logging.INFO, "aircheck.gateway"):
        asyncio.run(main())
    assert caplog.text.splitlines() == [
        "4711 begins",
        "4712 begins",
        "4711 'upload 7\\n%d' in a task of its own: 1",
        "4712 in a task of its own: 1",
        "of none",
    ]
