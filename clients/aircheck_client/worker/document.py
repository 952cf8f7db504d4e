"""The AsyncAPI document of a worker: its topics, and what is in them."""

from __future__ import annotations

from importlib.metadata import version

from faststream.specification import AsyncAPI

from aircheck_client.worker.brokers import broker_of
from aircheck_client.worker.messages import Checked, CheckedEvent, DeadLetter, DeadLetterEvent, Job, JobEvent
from aircheck_client.worker.settings import WorkerSettings


def asyncapi(settings: WorkerSettings) -> str:
    """AsyncAPI 3.0 as JSON. Asks nobody."""
    broker = broker_of(settings)
    stream = broker.stream
    bare, enveloped = (Job, Checked, DeadLetter), (JobEvent, CheckedEvent, DeadLetterEvent)
    job, checked, dead = enveloped if settings.cloudevents else bare

    async def check(message: job) -> None:  # type: ignore[valid-type]  # a type made at run time
        """A recording to check."""

    check.__annotations__ = {"message": job, "return": None}
    broker.consume(check, **broker.consumers()[0], title=settings.topic_in)
    for topic, schema, description in (
        (settings.topic_out, checked, "Verdicts, one for each job; after a failure, the same one may come again."),
        (settings.dead_letters, dead, "Messages that have no verdict, and why."),
    ):
        stream.publisher(**broker.destination(topic), schema=schema, title=topic, description=description)
    document = AsyncAPI(stream, title="aircheck worker", version=version("aircheck-client"))
    return document.to_specification().to_json()
