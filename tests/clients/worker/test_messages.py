"""Messages of the worker: what is a job, and what the answers carry."""

from __future__ import annotations

import json

import pytest

from aircheck_client import Context
from aircheck_client.worker.messages import MAX_JOB_BYTES, Checked, DeadLetter, MalformedError, read_job, write
from support.catalogue import record_of

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
EVENT = {"specversion": "1.0", "id": "e", "source": "/uploads", "type": "upload", "data": {"id": "1", "uri": "a.mp3"}}
VERDICT = record_of(b"audio").verdict
CHECKED = Checked(id="1", uri="a.mp3", verdict=VERDICT, audio_sha256="ab" * 32, from_record=False)


def body(**fields):
    return json.dumps(fields).encode()


def test_a_job_is_an_id_and_a_uri_and_may_have_a_context():
    job, trace = read_job(body(id="1", uri="s3://bucket/a.mp3", context={"market": "SE", "audience": ""}), False)
    assert (job.id, job.uri, job.context, trace) == ("1", "s3://bucket/a.mp3", Context(market="SE"), {})
    assert read_job(body(id="1", uri="a.mp3"), False)[0].context == Context()


def test_a_context_may_be_json_text_as_in_a_field_of_a_redis_stream():
    assert read_job(body(id="1", uri="a.mp3", context='{"market": "SE"}'), False)[0].context.market == "SE"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"junk", "Invalid JSON"),
        (b"\xff\xfe", "Invalid JSON"),
        (b"", "Invalid JSON"),
        (b"[]", "object"),
        (body(uri="a.mp3"), "id: Field required"),
        (body(id="1"), "uri: Field required"),
        (body(id="1", uri=""), "uri: String should have at least 1 character"),
        (body(id="1", uri="a.mp3", contxt={}), "contxt: Extra inputs"),
        (body(id="1", uri="a.mp3", context={"market": "sweden"}), "context.market"),
        (body(id="1", uri="a.mp3", context="{"), "context"),
        (body(id="1", uri="a" * MAX_JOB_BYTES), "a job has at most 65536"),
    ],
)
def test_what_is_no_job_is_refused_by_the_field_at_fault(data, words):
    with pytest.raises(MalformedError, match=words):
        read_job(data, False)


def test_an_envelope_is_read_where_one_is_expected_and_nowhere_else():
    enveloped = json.dumps({**EVENT, "traceparent": TRACEPARENT, "partitionkey": "7"}).encode()
    job, trace = read_job(enveloped, True)
    assert (job.id, job.uri, trace) == ("1", "a.mp3", {"traceparent": TRACEPARENT})
    with pytest.raises(MalformedError):
        read_job(enveloped, False)
    with pytest.raises(MalformedError, match="specversion"):
        read_job(body(id="1", uri="a.mp3"), True)
    with pytest.raises(MalformedError, match="specversion"):
        read_job(json.dumps({**EVENT, "specversion": "0.3"}).encode(), True)


def test_a_bare_answer_is_the_answer():
    assert Checked.model_validate_json(write(CHECKED, "uploads", {"traceparent": TRACEPARENT}, False)) == CHECKED


def test_an_enveloped_answer_says_what_it_is_and_to_which_trace_it_belongs():
    event = json.loads(write(CHECKED, "uploads", {"traceparent": TRACEPARENT}, True))
    assert Checked.model_validate(event.pop("data")) == CHECKED
    assert event.pop("time").endswith("Z")
    assert event == {
        "specversion": "1.0",
        "id": "1",
        "source": "uploads",
        "type": "dev.aircheck.verdict.v1",
        "subject": "a.mp3",
        "datacontenttype": "application/json",
        "traceparent": TRACEPARENT,
    }


def test_an_enveloped_dead_letter_of_no_job_has_an_id_of_its_own():
    letter = DeadLetter(id="", reason="malformed", detail="no JSON", next_step="correct it", attempts=1, message="junk")
    first, second = (json.loads(write(letter, "uploads", {}, True)) for _ in range(2))
    assert first["type"] == "dev.aircheck.dead_letter.v1"
    assert first["data"]["reason"] == "malformed"
    assert first["id"]
    assert first["id"] != second["id"]
