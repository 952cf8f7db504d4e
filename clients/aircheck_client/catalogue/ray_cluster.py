"""Where the actors of `aircheck bulk --engine ray` run: a cluster, or a Ray of its own on this machine."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aircheck_client.catalogue.extras import imported
from aircheck_client.catalogue.job import JobError

WORKER_CPUS = 0.25  # by which Ray shares out machines; a worker mostly waits
STORE_BYTES = 128 * 2**20  # of a Ray on this machine: only descriptions of items go through its shared memory
_ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0"}  # tells nobody
_LOCAL = {
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # it warns of what Ray Data does with every actor
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # there, Ray listens on loopback; so it does here
}


@contextmanager
def cluster(address: str | None, workers: int | None) -> Iterator[int]:
    """A connection to the cluster, or without an address a Ray on loopback; how many workers it is to have.

    workers : None: one a machine

    Enter it before gRPC is used, for Ray forks, and before Ray is imported, which reads its environment then. Raises
    JobError, MissingPackageError.
    """
    for name, value in (_ENVIRONMENT | ({} if address else _LOCAL)).items():
        os.environ.setdefault(name, value)
    ray = imported("ray", extra="ray")
    logging.getLogger("ray._private.authentication").setLevel(logging.ERROR)  # that it is on, which is as it should be
    options: dict[str, Any] = {}
    if not address:
        cpus = 1 + math.ceil(WORKER_CPUS * (workers or 1))  # for whoever reads the items, and for the workers
        options = {"num_cpus": cpus, "object_store_memory": STORE_BYTES, "include_dashboard": False}
    try:
        ray.init(address or "local", logging_level=logging.WARNING, log_to_driver=False, **options)
    except (OSError, ValueError, RuntimeError) as error:
        hint = "; where it asks for a token, set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH" if address else ""
        raise JobError(f"no Ray at {address or 'this machine'}: {error}{hint}") from None
    try:
        yield workers or sum(node["Alive"] for node in ray.nodes())
    finally:
        ray.shutdown()
