"""Models are loaded in nearly every module here."""

from collections.abc import Iterator

import pytest

from aircheck.inference import memory


@pytest.fixture(scope="module", autouse=True)
def _memory_of_a_modules_models_is_given_back() -> Iterator[None]:
    yield
    memory.trim()
