"""A bulk job against a server that answers as it is told: what is retried, what is given up, what is heard once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from aircheck_client import Retry
from aircheck_client.aio import AsyncAircheckClient
from aircheck_client.catalogue.concurrency import Bounds
from aircheck_client.catalogue.items import BadItem, Shard, SourceError
from aircheck_client.catalogue.job import (
    Job,
    JobError,
    JobOptions,
    Tally,
    count_left,
    first_left,
    write_dead_letters,
)
from aircheck_client.catalogue.records import Item, RecordStore
from aircheck_client.catalogue.scanning import Scanner
from aircheck_client.catalogue.sources import Sources
from aircheck_client.schema import Context
from support.scripted_server import ScriptedServer


def options(**given) -> JobOptions:
    return JobOptions(**{"first_wait_s": 0.01, "longest_wait_s": 0.05, "patience_s": 20.0, **given})


def run(server, store, items: Iterable[Item | BadItem], given: JobOptions | None = None, force: bool = False) -> Tally:
    async def work() -> Tally:
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(AsyncAircheckClient(server.url, retry=Retry(attempts=1)))
            sources = await stack.enter_async_context(Sources(allow_private=True))
            return await Job(Scanner(client, store, sources, force=force), given or options()).run(iter(items))

    return asyncio.run(work())


@pytest.fixture
def store(tmp_path):
    return RecordStore(tmp_path / "records")


@pytest.fixture
def item(tmp_path):
    def made(name: str, audio: str, context: Context | None = None) -> Item:
        path = tmp_path / f"{name}.wav"
        path.write_text(audio)
        return Item(id=name, uri=str(path), context=context or Context())

    return made


def test_each_item_has_its_record_and_a_second_run_hears_nothing(scripted, store, item):
    items = [item(f"item {number}", f"ok {number}") for number in range(20)]
    first = run(scripted, store, items)
    assert (first.heard, first.failed, first.audio_s) == (20, 0, 30.0)
    assert {entry.item.id for entry in store.items} == {one.id for one in items}
    assert {entry.key for entry in store.items} == {record.key for record in store.records()}
    second = run(scripted, store, items)
    assert (second.heard, second.done_before) == (0, 20)
    assert set(scripted.heard.values()) == {1}


def test_an_audio_under_two_uris_is_heard_once_also_at_the_same_time(scripted, store, item):
    tally = run(scripted, store, [item(f"item {number}", "slow same") for number in range(6)])
    assert (tally.heard, tally.shared) == (1, 5)
    assert sum(scripted.heard.values()) == 1
    assert len(list(store.items)) == 6


def test_force_hears_again(scripted, store, item):
    items = [item("one", "ok")]
    run(scripted, store, items)
    assert run(scripted, store, items, options(force=True), force=True).heard == 1
    assert sum(scripted.heard.values()) == 2


def test_other_models_hear_again_and_another_policy_decides_what_was_heard(scripted, store, item):
    run(scripted, store, [item("one", "ok")])
    swedish = item("one", "ok", Context(market="SE"))
    tally = run(scripted, store, [swedish])
    assert (tally.heard, tally.shared, scripted.decided) == (0, 1, 1)
    assert store.get(store.item("one").key).verdict.context.market == "SE"
    assert run(scripted, store, [swedish]).done_before == 1
    assert run(scripted, store, [item("two", "ok", Context(market="SE"))]).shared == 1
    assert sum(scripted.heard.values()) == 1
    scripted.models = scripted.models[:1]
    assert run(scripted, store, [swedish]).heard == 1
    assert len(list(store.records())) == 3
    assert len(list(store.items)) == 2


def test_what_may_pass_is_tried_again_and_what_will_not_is_given_up_with_its_reason(scripted, store, item):
    missing = Item(id="missing", uri="/nowhere/at/all.mp3")
    unknown = item("unknown", "ok", Context(policy_pack="none_such"))
    items = [
        item("busy", "busy2"), item("crash", "crash2"), item("invalid", "invalid"), item("for ever", "crash"),
        missing, unknown, BadItem("m.jsonl:7", "no uri"), item("good", "ok"), item("large", "ok" * 10_000),
    ]  # fmt: skip
    tally = run(scripted, store, items)
    assert {entry.item.id for entry in store.items} == {"busy", "crash", "good"}
    assert (tally.heard, tally.failed) == (3, 6)
    count, where = write_dead_letters(store)
    letters = {line["id"]: line for line in map(json.loads, Path(where).read_text().splitlines())}
    assert count == 6
    assert {name: letter["reason"] for name, letter in letters.items()} == {
        "invalid": "invalid_audio",
        "for ever": "server_failed",
        "missing": "source_missing",
        "unknown": "invalid_audio",
        "m.jsonl:7": "bad_item",
        "large": "source_refused",
    }
    assert letters["for ever"]["attempts"] == 4
    assert letters["invalid"]["attempts"] == 1
    assert all(letter["next_step"] for letter in letters.values())
    again = run(scripted, store, items)
    assert (again.done_before, again.failed) == (3, 6)
    assert store.failure("for ever").attempts == 8


def test_a_failure_that_passed_is_no_dead_letter_any_more(scripted, store, item):
    assert run(scripted, store, [item("one", "crash1")], options(attempts=1)).failed == 1
    assert run(scripted, store, [item("one", "crash1")], options(attempts=1)).heard == 1
    assert write_dead_letters(store)[0] == 0


def test_no_more_scans_than_the_bound_and_fewer_where_the_server_refuses(scripted, store, item):
    scripted.room = 3
    items = [item(f"item {number}", f"ok {number}") for number in range(60)]
    tally = run(scripted, store, items, options(bounds=Bounds(1, 4, 8)))
    assert (tally.heard, tally.failed) == (60, 0)
    assert scripted.most_at_once <= 3
    assert scripted.refusals < 60


def test_of_two_servers_one_may_go_half_way(store, item):
    items = [item(f"item {number}", f"ok {number}") for number in range(60)]
    with ScriptedServer() as stays:
        with ScriptedServer() as goes:

            class Both:
                url = f"{stays.url},{goes.url}"

            def given():
                for number, one in enumerate(items):
                    if number == 30:
                        goes.stop()
                    yield one

            tally = run(Both, store, given())
        assert (tally.heard, tally.failed) == (60, 0)
        assert len(list(store.items)) == 60
        assert sum(stays.heard.values()) > 30


def test_limit_shard_and_what_is_left(scripted, store, item):
    items = [item(f"item {number}", f"ok {number}") for number in range(30)]
    assert run(scripted, store, items, options(limit=5)).heard == 5
    run(scripted, store, items, options(shard=Shard(1, 2)))

    async def left() -> tuple[int, int]:
        async with AsyncAircheckClient(scripted.url) as client, Sources() as sources:
            scanner = Scanner(client, store, sources)
            await scanner.refresh()
            return await count_left(scanner, iter(items), Shard())

    done = len(list(store.items))
    assert asyncio.run(left()) == (30 - done, 30)
    assert run(scripted, store, items).heard == 30 - done
    assert len(list(store.items)) == 30


def test_of_several_servers_the_one_that_says_it_is_unwell_gets_nothing_until_it_is_well(store, item):
    items = [item(f"item {number}", f"ok {number}") for number in range(40)]
    with ScriptedServer() as well, ScriptedServer() as sick:

        class Both:
            url = f"{well.url},{sick.url}"

        sick.is_well(False)
        tally = run(Both, store, items[:20])
        assert (tally.heard, tally.retries) == (20, 0)
        assert (sum(well.heard.values()), sum(sick.heard.values())) == (20, 0)
        well.is_well(False)
        with pytest.raises(JobError, match="cannot answer at present"):
            run(Both, store, items, options(patience_s=0.2))
        sick.is_well(True)
        assert run(Both, store, items).heard == 20
        assert sum(sick.heard.values()) > 0


def test_what_is_left_under_a_limit_is_what_a_run_would_begin(scripted, store, item):
    bad, broken = BadItem("m.jsonl:3", "no uri"), SourceError("broke off")
    items = [*(item(f"item {number}", f"ok {number}") for number in range(6)), bad, item("last", "ok last")]
    run(scripted, store, items[:3])

    def given():
        yield from items
        raise broken

    async def left(limit: int, **options):
        async with AsyncAircheckClient(scripted.url) as client, Sources() as sources:
            scanner = Scanner(client, store, sources)
            await scanner.refresh()
            return await first_left(scanner, given(), JobOptions(limit=limit, **options))

    assert asyncio.run(left(2)) == (items[3:5], 3)
    assert asyncio.run(left(9)) == ([*items[3:], broken], 3)
    assert asyncio.run(left(2, force=True)) == (items[:2], 0)


def test_a_manifest_that_breaks_off_does_not_lose_what_was_begun(scripted, store, item):
    def items():
        yield item("one", "slow")
        raise SourceError("broke off")

    with pytest.raises(SourceError, match="broke off"):
        run(scripted, store, items())
    assert [entry.item.id for entry in store.items] == ["one"]


def test_a_job_that_cannot_write_down_what_failed_ends(scripted, store, item, tmp_path):
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "failures").write_text("a file where a folder should be")
    for failing in (item("one", "invalid"), BadItem("m.jsonl:1", "no uri")):
        with pytest.raises(JobError, match="cannot be written down"):
            run(scripted, store, [failing])


def test_a_job_without_any_server_ends_and_says_so(scripted, store, item):
    class Absent:
        url = "127.0.0.1:1"

    with pytest.raises(JobError, match=r"no server for 0\.2 s"):
        run(Absent, store, [item("one", "ok")], options(patience_s=0.2))
    with pytest.raises(JobError, match="no server answered"):
        run(scripted, store, [item("one", "away")], options(patience_s=0.2))
    assert write_dead_letters(store)[0] == 0  # it is not the item's fault
