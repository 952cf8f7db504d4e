from __future__ import annotations

import pytest

from support.scripted_server import ScriptedServer
from support.web import Web


@pytest.fixture
def scripted():
    with ScriptedServer() as server:
        yield server


@pytest.fixture
def web():
    with Web() as server:
        yield server
