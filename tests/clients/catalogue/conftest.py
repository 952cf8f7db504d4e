from __future__ import annotations

import pytest

from support.scripted_server import ScriptedServer


@pytest.fixture
def scripted():
    with ScriptedServer() as server:
        yield server
