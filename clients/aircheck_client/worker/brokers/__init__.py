"""The brokers that a worker can take messages from, each a module of one class; imported when it is used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from aircheck_client.worker.settings import WorkerSettings

if TYPE_CHECKING:
    from aircheck_client.worker.brokers.base import Broker

_MODULES = {
    "redis": "redis_streams",
    "rediss": "redis_streams",
    "nats": "jetstream",
    "tls": "jetstream",
    "kafka": "kafka",
    "amqp": "rabbitmq",
    "amqps": "rabbitmq",
}


def broker_of(settings: WorkerSettings) -> Broker:
    """The broker that the settings' URL names, not connected yet."""
    module = import_module(f"aircheck_client.worker.brokers.{_MODULES[settings.scheme]}")
    broker: Broker = module.broker_of(settings)
    return broker
