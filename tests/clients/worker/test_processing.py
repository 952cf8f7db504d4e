"""What becomes of a message, whatever the broker: with a server and a broker that fail as they are told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import pytest
from opentelemetry import propagate

from aircheck_client import (
    AuthenticationError,
    DeadlineError,
    InvalidAudioError,
    OverloadedError,
    ServerError,
    UnavailableError,
)
from aircheck_client.catalogue.fetch import RefusedSourceError, UnreachableSourceError
from aircheck_client.catalogue.items import SourceError
from aircheck_client.catalogue.records import StoreError
from aircheck_client.tracing import call_span
from aircheck_client.worker import failures
from aircheck_client.worker.failures import wait_s
from aircheck_client.worker.messages import Checked, Job
from aircheck_client.worker.processing import Delivery, DrainingError, Processor
from aircheck_client.worker.settings import WorkerSettings
from support.catalogue import record_of

SETTINGS = WorkerSettings("redis://127.0.0.1:6379", "in", "out", "dead", "records", attempts=3)
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
JOB = b'{"id": "1", "uri": "a.mp3"}'
VERDICT = record_of(b"audio").verdict


class Server:
    """Raises `errors` one after another, and then gives a verdict."""

    def __init__(self, *errors: Exception) -> None:
        self._errors, self.asked = list(errors), 0
        self.on_ask: Callable[[], None] = lambda: None

    async def __call__(self, job: Job) -> Checked:
        self.asked += 1
        self.on_ask()
        if self._errors:
            raise self._errors.pop(0)
        return Checked(id=job.id, uri=job.uri, verdict=VERDICT, audio_sha256="ab" * 32, from_record=False)


class Topics:
    """Fails to publish `n_failures` times."""

    def __init__(self, n_failures: int = 0, max_bytes: int | None = None) -> None:
        self.max_bytes, self._n_failures = max_bytes, n_failures
        self.published: list[tuple[str, dict, dict[str, str]]] = []

    async def publish(self, topic: str, body: bytes, headers: dict[str, str]) -> None:
        if self._n_failures:
            self._n_failures -= 1
            raise ConnectionError("away")
        self.published.append((topic, json.loads(body), headers))


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch):
    monkeypatch.setattr(failures, "_FIRST_WAIT_S", 0.001)
    monkeypatch.setattr(failures, "_LONGEST_WAIT_S", 0.002)


def process(server, topics=None, body=JOB, settings=SETTINGS, **delivery):
    topics = topics or Topics()
    asyncio.run(Processor(settings, server, topics).process(Delivery(body, **delivery)))
    (answer,) = topics.published
    return answer


def test_a_verdict_goes_out_without_its_transcript_unless_that_is_asked_for():
    segments = [
        {"start_s": 0, "end_s": 1, "text": "words", "avg_logprob": 0, "no_speech_prob": 0, "compression_ratio": 1}
    ]
    verdict = VERDICT.model_validate({**VERDICT.model_dump(), "segments": segments})

    async def server(job):
        return Checked(id=job.id, uri=job.uri, verdict=verdict, audio_sha256="ab" * 32, from_record=False)

    topic, answer, _ = process(server)
    assert (topic, answer["id"], answer["verdict"]["segments"]) == ("out", "1", [])
    settings = WorkerSettings("redis://127.0.0.1:6379", "in", "out", "dead", "records", transcript=True)
    assert process(server, settings=settings)[1]["verdict"]["segments"][0]["text"] == "words"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (InvalidAudioError("no audio"), "invalid_audio"),
        (RefusedSourceError("http"), "source_refused"),
        (SourceError("not there", "a.mp3"), "source_missing"),
    ],
)
def test_a_message_at_fault_is_a_dead_letter_at_once(error, reason):
    error.partial = VERDICT
    server = Server(error)
    topic, letter, _ = process(server)
    assert (topic, letter["id"], letter["uri"], letter["reason"]) == ("dead", "1", "a.mp3", reason)
    assert (letter["detail"], letter["attempts"], letter["message"]) == (str(error), 1, JOB.decode())
    assert letter["partial"]["reason"] == VERDICT.reason
    assert server.asked == 1


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ServerError("a model died"), "server_failed"),
        (DeadlineError("late"), "deadline"),
        (UnreachableSourceError("reset", "a.mp3"), "source_unreachable"),
        (RuntimeError("nobody foresaw"), "bug"),
    ],
)
def test_what_may_be_the_messages_fault_is_tried_so_often_and_no_more(error, reason):
    server = Server(*[error] * 2)
    assert process(server)[0] == "out"
    assert server.asked == 3
    server = Server(*[error] * 9)
    topic, letter, _ = process(server)
    assert (topic, letter["reason"], letter["attempts"], server.asked) == ("dead", reason, 3, 3)
    server = Server(*[error] * 9)
    assert process(server, deliveries=2)[1]["attempts"] == 3
    assert server.asked == 2  # the delivery before counts


@pytest.mark.parametrize(
    "error",
    [UnavailableError("nobody"), OverloadedError("full"), AuthenticationError("who?"), StoreError("the disk is full")],
)
def test_what_is_no_messages_fault_is_waited_for_however_long(error):
    server = Server(*[error] * 20)
    assert process(server)[0] == "out"
    assert server.asked == 21


def test_a_message_that_nobody_lives_to_acknowledge_is_a_dead_letter_untried():
    server = Server()
    assert process(server, deliveries=3)[0] == "out"
    topic, letter, _ = process(Server(), deliveries=4)
    assert (topic, letter["reason"], letter["attempts"]) == ("dead", "too_many_deliveries", 3)


def test_what_is_no_job_is_a_dead_letter_with_its_bytes():
    topic, letter, _ = process(Server(), body=b"\xffjunk")
    assert (topic, letter["id"], letter["reason"], letter["message"]) == ("dead", "", "malformed", "\ufffdjunk")


def test_a_verdict_larger_than_the_broker_takes_is_a_dead_letter_that_fits():
    topic, letter, _ = process(Server(), Topics(max_bytes=500))
    assert (topic, letter["id"], letter["reason"]) == ("dead", "1", "too_large")
    assert len(json.dumps(letter)) < 500


def test_an_answer_is_published_once_the_broker_is_there_again_and_under_one_id():
    topics, again = Topics(n_failures=5), Topics()
    _, _, headers = process(Server(), topics, unique_id="7-0")
    assert headers["message-id"] == "7-0:out"
    assert process(Server(), again, unique_id="7-0")[2] == headers


@pytest.mark.parametrize("topics", [Topics(), Topics(n_failures=1000)])
def test_a_worker_that_drains_waits_for_nothing_and_leaves_the_message(topics):
    server = Server(*[] if topics._n_failures else [UnavailableError("nobody")] * 1000)
    processor = Processor(SETTINGS, server, topics)

    async def stop_meanwhile() -> None:
        task = asyncio.create_task(processor.process(Delivery(JOB)))
        await asyncio.sleep(0.02)
        processor.drain()
        await task

    with pytest.raises(DrainingError):
        asyncio.run(stop_meanwhile())
    assert not topics.published


def test_the_trace_goes_to_the_server_and_out_with_the_answer():
    seen = {}
    server = Server()

    def ask() -> None:
        with call_span("aircheck.v1.Aircheck", "Scan") as metadata:
            seen.update(metadata)

    server.on_ask = ask
    _, _, headers = process(server, headers={"traceparent": TRACEPARENT})
    assert headers["traceparent"] == TRACEPARENT
    assert seen == {"traceparent": TRACEPARENT}
    with call_span("aircheck.v1.Aircheck", "Scan") as metadata:
        assert not metadata  # of this test, which has no trace
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    assert not carrier


def test_the_trace_of_an_envelope_serves_where_the_message_has_none():
    settings = WorkerSettings("redis://127.0.0.1:6379", "in", "out", "dead", "records", cloudevents=True)
    event = {"specversion": "1.0", "id": "e", "source": "s", "type": "t", "traceparent": TRACEPARENT}
    body = json.dumps({**event, "data": {"id": "1", "uri": "a.mp3"}}).encode()
    _, answer, headers = process(Server(), body=body, settings=settings)
    assert answer["traceparent"] == headers["traceparent"] == TRACEPARENT
    assert answer["data"]["id"] == "1"


def test_waits_grow_to_a_bound_and_are_never_shorter_than_the_server_asks(monkeypatch):
    monkeypatch.undo()
    assert 0.25 <= wait_s(0) <= 0.5
    assert 15 <= wait_s(1000) <= 30
    assert wait_s(0, after_s=7.0) == 7.0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"broker": "http://127.0.0.1"}, "--broker: http:// is none of redis"),
        ({"broker": "127.0.0.1:6379"}, "--broker"),
        ({"topic_out": "in"}, "three topics that differ"),
        ({"concurrency": 0}, "--concurrency: at least 1"),
        ({"claim_after_s": 0.1}, "--claim-after: at least 1 s"),
    ],
)
def test_a_wrong_setting_is_named(options, words):
    fields = {
        "broker": "redis://127.0.0.1",
        "topic_in": "in",
        "topic_out": "out",
        "dead_letters": "dead",
        "records": "r",
    }
    with pytest.raises(ValueError, match=words):
        WorkerSettings(**{**fields, **options})


def test_a_brokers_password_is_not_shown():
    settings = WorkerSettings("redis://user:secret@127.0.0.1:6379/0", "in", "out", "dead", "records")
    assert settings.shown_broker == "redis://127.0.0.1:6379/0"
