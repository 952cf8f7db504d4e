"""One real server, started once for the session, that every integration test talks gRPC to."""

from __future__ import annotations

import os

import pytest

from aircheck.server import Server
from aircheck.settings import PREFIX, Settings
from aircheck_client import AircheckClient, Retry
from support.triton import FREE_PORTS, Models


@pytest.fixture(scope="session", autouse=True)
def _settings_of_the_tests_alone():
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(PREFIX)]:
            patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def server(_settings_of_the_tests_alone):
    with Server(Settings.load(max_parallel_episodes=4, **FREE_PORTS)) as running:
        yield running


@pytest.fixture(scope="session")
def client(server):
    with AircheckClient(server.url, timeout_s=120, retry=Retry(attempts=1)) as connected:
        yield connected


@pytest.fixture(scope="session")
def patient_client(server):
    """Tries again where the server is full, as clients do unless told otherwise: a slow machine soon is."""
    with AircheckClient(server.url, timeout_s=300) as connected:
        yield connected


@pytest.fixture(scope="session")
def models(server):
    return Models(server.triton_url)
