"""What crosses the broker: jobs in; verdicts and dead letters out; bare, or in CloudEvents envelopes.

A body is JSON in UTF-8. An envelope is CloudEvents 1.0 in structured mode
(https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md), which every broker can carry.
"""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from typing import Annotated, Generic, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import from_json

from aircheck_client.schema import Context, Verdict

ENVELOPE_TYPE = "application/cloudevents+json"
VERDICT_TYPE = "dev.aircheck.verdict.v1"
DEAD_LETTER_TYPE = "dev.aircheck.dead_letter.v1"
MAX_JOB_BYTES = 2**16  # more is no job

Text = Annotated[str, Field(min_length=1, max_length=4096)]
_T = TypeVar("_T")


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Job(_Model):
    """A recording to check. `id` is the sender's; it comes back with the verdict."""

    id: Text
    uri: Text = Field(description="a path on the worker's machine, or a URL of a scheme that it opens")
    context: Annotated[Context, BeforeValidator(lambda value: _parsed(value))] = Context()


class Checked(_Model):
    """The verdict on a job's recording."""

    id: str
    uri: str
    verdict: Verdict = Field(description="without its transcript, unless the worker was told otherwise")
    audio_sha256: str = Field(description="of the file's bytes; names the record in the store")
    from_record: bool = Field(description="whether it had been heard before; nothing was scanned for this message")


class DeadLetter(_Model):
    """A message that has no verdict, and will have none by being sent again as it is."""

    id: str = Field(description="the job's; empty where the message is none")
    uri: str = ""
    reason: str = Field(description="a type; docs/worker.md has them all")
    detail: str
    next_step: str = Field(description="what somebody should do")
    attempts: int = Field(ge=0, description="how often it was tried, by any worker")
    partial: Verdict | None = Field(
        default=None, description="on what was checked before it failed, without its transcript; never clean"
    )
    message: str = Field(default="", description="as it came, up to 65536 bytes; what is no UTF-8 is replaced")


class CloudEvent(BaseModel, Generic[_T]):
    """The envelope. Extension attributes beside `traceparent` and `tracestate` are taken and not kept."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    specversion: Literal["1.0"]
    id: Text
    source: Text
    type: Text
    subject: str | None = None
    time: datetime | None = None
    datacontenttype: str | None = "application/json"
    traceparent: str | None = None
    tracestate: str | None = None
    data: _T


class JobEvent(CloudEvent[Job]):
    """A job in its envelope."""


class CheckedEvent(CloudEvent[Checked]):
    """A verdict in its envelope."""


class DeadLetterEvent(CloudEvent[DeadLetter]):
    """A dead letter in its envelope."""


class MalformedError(ValueError):
    """A message that is no job; says which field is wrong."""


def read_job(body: bytes, enveloped: bool) -> tuple[Job, dict[str, str]]:
    """The job, and the trace context that the envelope carries. Raises MalformedError.

    enveloped : whether an envelope is expected; one that is not expected, or that is missing, is a fault of the sender
    """
    if len(body) > MAX_JOB_BYTES:
        raise MalformedError(f"{len(body)} bytes; a job has at most {MAX_JOB_BYTES}")
    try:
        if not enveloped:
            return Job.model_validate_json(body), {}
        event = JobEvent.model_validate_json(body)
    except ValidationError as error:
        raise MalformedError(_faults(error)) from None
    carrier = {"traceparent": event.traceparent, "tracestate": event.tracestate}
    return event.data, {name: value for name, value in carrier.items() if value}


def write(answer: Checked | DeadLetter, source: str, trace: dict[str, str], enveloped: bool) -> bytes:
    """The body of an answer.

    source : names the worker's topic in the envelope
    trace : the trace context; an envelope carries it too
    """
    if not enveloped:
        return answer.model_dump_json().encode()
    event = CloudEvent[Checked | DeadLetter](
        specversion="1.0",
        id=answer.id or str(uuid.uuid4()),
        source=source,
        type=VERDICT_TYPE if isinstance(answer, Checked) else DEAD_LETTER_TYPE,
        subject=answer.uri or None,
        time=datetime.now(UTC),
        traceparent=trace.get("traceparent"),
        tracestate=trace.get("tracestate"),
        data=answer,
    )
    attributes = {name: value for name, value in event.model_dump(mode="json").items() if value is not None}
    return json.dumps(attributes, ensure_ascii=False).encode()


def _faults(error: ValidationError) -> str:
    faults = error.errors(include_url=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, fault['loc'])) or 'message'}: {fault['msg']}" for fault in faults[:5])


def _parsed(value: object) -> object:
    """A context that comes as JSON text, as from a field of a Redis stream."""
    return from_json(value) if isinstance(value, str) else value
