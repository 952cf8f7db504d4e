"""The ingestion worker between a real broker and a real server; brokers and workers that are killed."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable

import pytest
from faststream.redis.parser import BinaryMessageFormatV1

from aircheck.settings import ROOT
from aircheck_client import DeadlineError, InvalidAudioError, ServerError
from aircheck_client.catalogue.fetch import RefusedSourceError, UnreachableSourceError
from aircheck_client.catalogue.items import SourceError
from aircheck_client.catalogue.scanning import reason_of
from aircheck_client.worker.failures import MALFORMED, TOO_LARGE, TOO_MANY_DELIVERIES
from benchmarks.clips import sample_clips
from benchmarks.worker.kills import OPTIONS, storm
from benchmarks.worker.process import WorkerProcess
from benchmarks.worker.servers import DEAD, GROUP, JOBS, PROGRAMS, VERDICTS, NatsServer, RedisServer

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
PAGE = (ROOT / "docs" / "worker.md").read_text(encoding="utf-8")
FINAL = (
    SourceError,
    RefusedSourceError,
    UnreachableSourceError,
    InvalidAudioError,
    DeadlineError,
    ServerError,
    KeyError,
)
N_AUDIOS = 8
WITHIN_S = 120.0


@pytest.fixture(params=[RedisServer, NatsServer], ids=["redis", "nats"])
def broker(request, tmp_path):
    with request.param(tmp_path) as running:
        yield running


@pytest.fixture
def redis(tmp_path):
    with RedisServer(tmp_path) as running:
        yield running


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recordings")
    paths = [folder / f"{number}.wav" for number in range(N_AUDIOS)]
    for path, clip in zip(paths, sample_clips(ROOT / "samples" / "episode.mp3", 2.0), strict=False):
        path.write_bytes(clip)
    return paths


def job(id_, uri, **fields):
    return json.dumps({"id": id_, "uri": str(uri), **fields}).encode()


def wait_until(holds: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + WITHIN_S
    while not holds():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def answered(broker):
    wait_until(lambda: broker.unacknowledged() == 0)
    return {answer["id"]: answer for answer in broker.answers(VERDICTS)}


# ---- what goes in and what comes out ----


def test_messages_become_verdicts_and_dead_letters(server, client, broker, files, tmp_path):
    broken = tmp_path / "broken.mp3"
    broken.write_bytes(b"no audio" * 1000)
    broker.put([job("good", files[0], context={"market": "SE"}), b"junk", job("none", tmp_path / "none.mp3")])
    broker.put([job("broken", broken), job("web", "http://127.0.0.1/a.mp3")], {"traceparent": TRACEPARENT})
    with WorkerProcess(broker, server.url, tmp_path / "records") as worker:
        verdicts = answered(broker)
        assert worker.get("/livez") == (200, "alive\n")
        wait_until(lambda: worker.get("/readyz") == (200, "ready\n"))  # it looks every few seconds
        assert worker.metric('aircheck_worker_messages_total{outcome="scanned"}') == 1
        assert worker.metric('aircheck_worker_messages_total{outcome="dead_letter"}') == 4
        assert worker.metric('aircheck_worker_dead_letters_total{reason="malformed"}') == 1
        assert worker.metric("aircheck_worker_in_flight") == 0
        assert worker.terminate() == 0
    assert list(verdicts) == ["good"]
    mine = client.scan(files[0]).model_dump(mode="json")
    theirs = verdicts["good"]["verdict"]
    assert (theirs["action"], theirs["findings"]) == (mine["action"], mine["findings"])
    assert theirs["context"]["market"] == "SE"
    letters = {letter["id"]: letter for letter in broker.answers(DEAD)}
    reasons = {id_: letter["reason"] for id_, letter in letters.items()}
    assert reasons == {"": "malformed", "none": "source_missing", "broken": "invalid_audio", "web": "source_refused"}
    assert {letter["attempts"] for letter in letters.values()} == {1}
    traced = [headers.get("traceparent") for headers in broker.headers(DEAD)]
    assert Counter(traced) == {TRACEPARENT: 2, None: 2}


def test_what_was_heard_is_not_heard_again(server, broker, files, tmp_path):
    copy = tmp_path / "copy.wav"
    shutil.copy(files[0], copy)
    records = tmp_path / "records"
    broker.put([job("first", files[0])])
    with WorkerProcess(broker, server.url, records):
        first = answered(broker)["first"]
    with WorkerProcess(broker, server.url, records) as worker:
        broker.put([job("copy", copy), job("elsewhere", copy, context={"market": "DE"})])
        verdicts = answered(broker)
        assert worker.metric('aircheck_worker_messages_total{outcome="scanned"}') == 0
        assert worker.metric('aircheck_worker_messages_total{outcome="stored"}') == 2
    assert [first["from_record"], verdicts["copy"]["from_record"]] == [False, True]
    assert verdicts["copy"]["verdict"] == first["verdict"]
    assert verdicts["elsewhere"]["from_record"]  # decided anew, from what was heard
    assert verdicts["elsewhere"]["verdict"]["context"]["market"] == "DE"


def test_the_same_audio_in_messages_at_a_time_is_heard_once(server, broker, files, tmp_path):
    broker.put([job(str(number), files[0]) for number in range(4)])
    with WorkerProcess(broker, server.url, tmp_path / "records"):
        verdicts = answered(broker)
    assert sorted(verdict["from_record"] for verdict in verdicts.values()) == [False, True, True, True]


def test_envelopes_come_and_go(server, broker, files, tmp_path):
    event = {"specversion": "1.0", "id": "e", "source": "/uploads", "type": "upload", "traceparent": TRACEPARENT}
    broker.put([json.dumps({**event, "data": {"id": "1", "uri": str(files[0])}}).encode(), job("bare", files[0])])
    with WorkerProcess(broker, server.url, tmp_path / "records", "--cloudevents"):
        wait_until(lambda: broker.unacknowledged() == 0)
    (verdict,), (letter,) = broker.answers(VERDICTS), broker.answers(DEAD)
    assert (verdict["specversion"], verdict["type"], verdict["subject"]) == (
        "1.0",
        "dev.aircheck.verdict.v1",
        str(files[0]),
    )
    assert verdict["traceparent"] == TRACEPARENT
    assert verdict["data"]["verdict"]["action"]
    assert (letter["type"], letter["data"]["reason"]) == ("dev.aircheck.dead_letter.v1", "malformed")


def test_redis_entries_may_be_fields_or_json_or_faststreams(server, redis, files, tmp_path):
    fields = {"id": "fields", "uri": str(files[0]), "context": '{"market": "SE"}'}
    message = {"id": "faststream", "uri": str(files[0]), "context": {"market": "SE"}}
    packed = BinaryMessageFormatV1.encode(message=message, reply_to=None, headers={}, correlation_id="c")
    client = redis._client()
    client.xadd(JOBS, fields)
    client.xadd(JOBS, {"__data__": asyncio.run(packed)})
    client.xadd(JOBS, {"__data__": '{"data": "junk", "headers": 3}'})
    redis.put([job("json", files[0], context={"market": "SE"})])
    with WorkerProcess(redis, server.url, tmp_path / "records"):
        verdicts = answered(redis)
    assert {id_: verdict["verdict"]["context"]["market"] for id_, verdict in verdicts.items()} == dict.fromkeys(
        ("fields", "faststream", "json"), "SE"
    )
    (letter,) = redis.answers(DEAD)
    assert (letter["reason"], letter["message"]) == ("malformed", "junk")


def test_another_file_under_a_known_id_and_uri_is_heard(server, broker, files, tmp_path):
    path = tmp_path / "replaced.wav"
    shutil.copy(files[0], path)
    with WorkerProcess(broker, server.url, tmp_path / "records"):
        broker.put([job("1", path)])
        answered(broker)
        shutil.copy(files[1], path)
        broker.put([job("1", path)])
        answered(broker)
    first, second = broker.answers(VERDICTS)
    assert not second["from_record"]
    assert first["audio_sha256"] != second["audio_sha256"]


# ---- what is killed, stopped or away ----


def test_no_message_is_lost_when_workers_and_brokers_are_killed(server, broker, files, tmp_path):
    with WorkerProcess(broker, server.url, tmp_path / "records", *OPTIONS) as worker:
        counts = storm(broker, worker, files, n_messages=40, victims=("worker", "broker", "worker"))
    assert (counts.published, counts.answered, counts.lost, counts.dead_letters) == (40, 40, 0, 0)
    assert counts.scans <= N_AUDIOS + 2 * 4  # what was under way in a worker that was killed is heard again


def test_a_dead_workers_messages_are_claimed_by_another(server, broker, files, tmp_path):
    broker.put([job(str(number), path) for number, path in enumerate(files)])
    with WorkerProcess(broker, "127.0.0.1:1", tmp_path / "records", *OPTIONS) as dead:  # it waits for its server
        wait_until(lambda: dead.metric("aircheck_worker_in_flight") == 4)
        dead.kill()
    assert broker.unacknowledged() == len(files)
    with WorkerProcess(broker, server.url, tmp_path / "records", *OPTIONS) as worker:
        verdicts = answered(broker)
        assert worker.metric("aircheck_worker_redeliveries_total") >= 4
    assert len(verdicts) == len(files)


def test_sigterm_finishes_what_is_in_flight_and_leaves_the_rest(server, broker, files, tmp_path):
    broker.put([job(str(number), path) for number, path in enumerate(files)])
    with WorkerProcess(broker, server.url, tmp_path / "records", "--concurrency", "2", *OPTIONS) as worker:
        wait_until(lambda: worker.metric("aircheck_worker_in_flight") == 2)
        assert worker.terminate() == 0
        done = len(broker.answers(VERDICTS))
        assert 2 <= done < len(files)
        assert broker.unacknowledged() == len(files) - done
        worker.start()
        verdicts = answered(broker)
    assert len(verdicts) == len(broker.answers(VERDICTS)) == len(files)


def test_messages_wait_for_a_server_that_is_away_and_stay_with_who_has_them(broker, files, tmp_path):
    broker.put([job("1", files[0])])
    options = ("--claim-after", "1")
    with (
        WorkerProcess(broker, "127.0.0.1:1", tmp_path / "records", *options) as first,
        WorkerProcess(broker, "127.0.0.1:1", tmp_path / "records", *options) as second,
    ):
        workers = (first, second)
        retries = 'aircheck_worker_retries_total{reason="unavailable"}'
        wait_until(lambda: max(worker.metric(retries) for worker in workers) >= 3)  # more than a second: time to claim
        assert min(worker.metric(retries) for worker in workers) == 0
        assert [worker.metric("aircheck_worker_redeliveries_total") for worker in workers] == [0, 0]
        wait_until(lambda: first.get("/readyz") == (503, "no server\n"))  # it looks every few seconds
        assert [worker.terminate() for worker in workers] == [0, 0]
    assert broker.unacknowledged() == 1
    assert not broker.answers(VERDICTS) + broker.answers(DEAD)


def test_a_message_that_ends_its_workers_is_a_dead_letter(server, redis, files, tmp_path):
    client = redis._client()
    client.xgroup_create(JOBS, GROUP, id="0", mkstream=True)
    redis.put([job("poison", files[0]), job("good", files[1])])
    ((entry, _),) = dict(client.xreadgroup(GROUP, "dead", {JOBS: ">"}, count=1))[JOBS.encode()]
    client.xclaim(JOBS, GROUP, "dead", 0, [entry], idle=60_000, retrycount=50)
    with WorkerProcess(redis, server.url, tmp_path / "records", *OPTIONS):
        verdicts = answered(redis)
    (letter,) = redis.answers(DEAD)
    assert (letter["id"], letter["reason"], letter["attempts"]) == ("poison", "too_many_deliveries", 50)
    assert list(verdicts) == ["good"]


def test_a_worker_whose_stream_is_deleted_fails(server, redis, tmp_path):
    redis.put([job("1", "none.mp3")])
    with WorkerProcess(redis, server.url, tmp_path / "records") as worker:
        wait_until(lambda: bool(redis.answers(DEAD)))
        redis._client().delete(JOBS)
        assert worker.wait() == 2
        assert "uploads or its group aircheck is no longer there" in worker.log


def test_a_broker_that_is_not_there_is_named(server, redis, tmp_path):
    redis.kill()
    with pytest.raises(RuntimeError, match=f"error: {redis.url}: ConnectionError"):
        WorkerProcess(redis, server.url, tmp_path / "records").start()


# ---- what docs/worker.md says ----


def test_the_pages_commands_do_what_it_says(server, redis, files, tmp_path):
    (code,) = re.findall(r"^```sh\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
    shutil.copy(files[0], tmp_path / "episode.mp3")  # the bytes decide, never the name
    script = f"""
        aircheck() {{ exec {sys.executable} -m aircheck_client.cli "$@" --metrics-port 0; }}
        redis-cli() {{ {PROGRAMS / "redis-cli"} -p {redis.port} "$@"; }}
        {code.replace("127.0.0.1:6379", f"127.0.0.1:{redis.port}")}
        wait
    """
    environment = {**os.environ, "AIRCHECK_URL": server.url}
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, timeout=120, cwd=tmp_path, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert '"from_record":false' in done.stdout
    assert (tmp_path / "records").is_dir()


def test_the_page_has_every_reason_and_every_metric(server, redis, tmp_path):
    with WorkerProcess(redis, server.url, tmp_path / "records") as worker:
        families = set(
            re.findall(r"^# TYPE (aircheck_worker_\w+?) (?:counter|gauge|histogram)$", worker.get("/metrics")[1], re.M)
        )
    shown = set(re.findall(r"`(aircheck_worker_\w+)", PAGE))
    assert {name for name in families if not name.endswith("_created")} == shown
    reasons = {MALFORMED, TOO_LARGE, TOO_MANY_DELIVERIES, *(reason_of(error("")) for error in FINAL)}
    assert {reason.name for reason in reasons} <= set(re.findall(r"`(\w+)`", PAGE))


@pytest.mark.parametrize("scheme", ["redis", "nats", "kafka", "amqp"])
@pytest.mark.parametrize("envelope", [(), ("--cloudevents",)])
def test_the_asyncapi_document_has_the_three_topics(scheme, envelope):
    topics = ("--in", JOBS, "--out", VERDICTS, "--dead-letters", DEAD, "--records", "r", "--asyncapi", *envelope)
    command = [
        sys.executable,
        "-m",
        "aircheck_client.cli",
        "worker",
        "--broker",
        f"{scheme}://host:1" if scheme == "kafka" else f"{scheme}://user:secret@host:1",
        *topics,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["asyncapi"].startswith("3.")
    assert set(document["channels"]) == {JOBS, VERDICTS, DEAD}
    schemas = {"JobEvent", "CheckedEvent", "DeadLetterEvent"} if envelope else {"Job", "Checked", "DeadLetter"}
    assert schemas <= set(document["components"]["schemas"])
    assert all(re.fullmatch(r"[\w.-]+", name) for name in document["components"]["schemas"])
    assert "secret" not in done.stdout
