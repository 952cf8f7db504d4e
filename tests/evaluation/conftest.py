"""Intervals of fewer resamples than a report's, which tests need not wait for."""

from __future__ import annotations

import pytest

from aircheck.evaluation import statistics


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "N_RESAMPLES", 20)
