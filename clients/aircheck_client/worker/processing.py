"""One message from its arrival to the answer that is published; of brokers it knows nothing."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from aircheck_client.catalogue.scanning import Reason
from aircheck_client.schema import Verdict
from aircheck_client.worker.failures import (
    MALFORMED,
    TOO_LARGE,
    TOO_MANY_DELIVERIES,
    Then,
    failure_of,
    wait_s,
)
from aircheck_client.worker.messages import (
    MAX_JOB_BYTES,
    Checked,
    DeadLetter,
    Job,
    MalformedError,
    read_job,
    write,
)
from aircheck_client.worker.monitoring import DEAD_LETTERS, MESSAGES, RETRIES, SECONDS
from aircheck_client.worker.settings import WorkerSettings
from aircheck_client.worker.tracing import trace_headers, traced

LOG = logging.getLogger("aircheck.worker")


@dataclass(frozen=True)
class Delivery:
    """A message as a broker delivered it.

    deliveries : how often, this time included
    unique_id : the broker's own name for the message; the same when it is delivered again
    """

    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    deliveries: int = 1
    unique_id: str = ""


class Checker(Protocol):
    """Gives the verdict on a job's recording. Raises AircheckError, StoreError."""

    async def __call__(self, job: Job) -> Checked: ...


class Publisher(Protocol):
    """Where answers go. `publish` returns once the broker has the message, and raises the broker's errors."""

    @property
    def max_bytes(self) -> int | None: ...

    async def publish(self, topic: str, body: bytes, headers: dict[str, str]) -> None: ...


class DrainingError(Exception):
    """The worker is about to stop; the message is left to another one."""


class Processor:
    """Answers messages, any number at a time."""

    def __init__(self, settings: WorkerSettings, check: Checker, publisher: Publisher):
        self._settings, self._check, self._publisher = settings, check, publisher
        self._draining = asyncio.Event()

    @property
    def is_draining(self) -> bool:
        return self._draining.is_set()

    def drain(self) -> None:
        """From now on nobody waits for a server, or for another try."""
        self._draining.set()

    async def process(self, delivery: Delivery) -> None:
        """Returns once an answer is published: only then may the message be acknowledged. Raises DrainingError."""
        begun_s = time.monotonic()
        try:
            job, carried = read_job(delivery.body, self._settings.cloudevents)
        except MalformedError as error:
            with traced(delivery.headers, self._settings.topic_in):
                letter = _dead_letter(delivery, None, MALFORMED, str(error), delivery.deliveries)
                await self._answer(letter, delivery)
            return
        with traced({**carried, **delivery.headers}, self._settings.topic_in):
            answer = await self._answer_to(job, delivery)
            await self._answer(answer, delivery)
        SECONDS.observe(time.monotonic() - begun_s)

    async def _answer_to(self, job: Job, delivery: Delivery) -> Checked | DeadLetter:
        attempts, waits = delivery.deliveries, 0
        if attempts > self._settings.attempts:
            detail = f"delivered {attempts} times without being acknowledged"
            return _dead_letter(delivery, job, TOO_MANY_DELIVERIES, detail, attempts - 1)
        while True:
            try:
                return await self._check(job)
            except Exception as error:
                failure = failure_of(error)
                if failure.then is Then.GIVE_UP or (
                    failure.then is Then.TRY_AGAIN and attempts >= self._settings.attempts
                ):
                    partial = getattr(error, "partial", None)
                    return _dead_letter(delivery, job, failure.reason, str(error), attempts, partial)
                RETRIES.labels(failure.reason.name).inc()
                LOG.warning("%s: %s: %s", job.id, type(error).__name__, error)
                attempts += failure.then is Then.TRY_AGAIN
                await self._pause(wait_s(waits, failure.after_s))
                waits += 1

    async def _answer(self, answer: Checked | DeadLetter, delivery: Delivery) -> None:
        """Publishes; where the broker is away, until it is there again. Raises DrainingError."""
        trace = trace_headers()
        body = self._body(answer, trace)
        if self._publisher.max_bytes is not None and len(body) > self._publisher.max_bytes:
            detail = f"{len(body)} bytes; the broker takes {self._publisher.max_bytes}"
            answer = _dead_letter(replace(delivery, body=b""), answer, TOO_LARGE, detail, delivery.deliveries)
            body = self._body(answer, trace)
        topic = self._settings.topic_out if isinstance(answer, Checked) else self._settings.dead_letters
        headers = {**trace, "message-id": f"{delivery.unique_id}:{topic}"}
        waits = 0
        while True:
            try:
                await self._publisher.publish(topic, body, headers)
                break
            except Exception as error:  # each broker has errors of its own
                LOG.warning("%s: cannot publish: %s: %s", answer.id, type(error).__name__, error)
                await self._pause(wait_s(waits))
                waits += 1
        if isinstance(answer, DeadLetter):
            DEAD_LETTERS.labels(answer.reason).inc()
            MESSAGES.labels("dead_letter").inc()
            LOG.warning("%s: dead letter: %s: %s", answer.id or "?", answer.reason, answer.detail)
        else:
            MESSAGES.labels("stored" if answer.from_record else "scanned").inc()

    def _body(self, answer: Checked | DeadLetter, trace: dict[str, str]) -> bytes:
        if isinstance(answer, Checked) and not self._settings.transcript:
            answer = answer.model_copy(update={"verdict": _without_transcript(answer.verdict)})
        return write(answer, self._settings.topic_in, trace, self._settings.cloudevents)

    async def _pause(self, seconds: float) -> None:
        """Raises DrainingError when the worker is about to stop, or stops meanwhile."""
        try:
            async with asyncio.timeout(seconds):
                await self._draining.wait()
        except TimeoutError:
            return
        raise DrainingError


def _dead_letter(
    delivery: Delivery,
    job: Job | Checked | DeadLetter | None,
    reason: Reason,
    detail: str,
    attempts: int,
    partial: Verdict | None = None,
) -> DeadLetter:
    return DeadLetter(
        id=job.id if job else "",
        uri=job.uri if job else "",
        reason=reason.name,
        detail=detail,
        next_step=reason.next_step,
        attempts=attempts,
        partial=_without_transcript(partial) if partial else None,
        message=delivery.body[:MAX_JOB_BYTES].decode(errors="replace"),
    )


def _without_transcript(verdict: Verdict) -> Verdict:
    return verdict.model_copy(update={"segments": ()})
