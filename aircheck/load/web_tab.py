"""The tab "Audio" in Locust's page: audio seconds a second, late starts, and each model's batches and queue.

Locust's own way to add a tab: https://docs.locust.io/en/stable/extending-locust.html#extending-the-web-ui
"""

from __future__ import annotations

import json
from collections import deque
from typing import Any

import gevent
from flask import Response, request
from locust.env import Environment
from locust.runners import WorkerRunner

from aircheck.load.calls import Ledger
from aircheck.load.errors import LoadError
from aircheck.load.server_metrics import ENSEMBLE, Model, Reading, read
from aircheck.load.workload import Workload

_KEY = "audio"
_EVERY_S = 2.0
_SPAN_S = 10.0
_COLUMNS = [
    {"key": "figure", "title": "Figure"},
    {"key": "now", "title": f"Last {_SPAN_S:g} s"},
    {"key": "all", "title": "Whole run"},
]


class AudioTab:
    """The table's rows, renewed as calls end and metrics are read."""

    def __init__(self, ledger: Ledger):
        self._ledger = ledger
        self._readings: deque[Reading] = deque(maxlen=int(_SPAN_S / _EVERY_S) + 1)
        self._first: Reading | None = None
        self._fault = ""

    def watch(self, environment: Environment, url: str) -> None:
        """Reads the metrics, for ever. A run counts from the last reading before its first call ended."""
        while True:
            if not self._ledger.all():  # the run has not begun
                self._first = None
            try:
                reading = read(url)
                self._readings.append(reading)
                self._first, self._fault = self._first or reading, ""
            except LoadError as error:
                self._fault = str(error)
            gevent.sleep(_EVERY_S)

    def rows(self) -> list[dict[str, str]]:
        """Of the table."""
        calls = self._ledger.all()
        answered = [call for call in calls if not call.error]
        if not answered:
            return [_row("no call was answered yet", "", self._fault)]
        end_s = max(call.ended_s for call in answered)
        lately = [call for call in answered if call.ended_s > end_s - _SPAN_S]
        rows = [
            _row(
                "audio seconds answered a second",
                f"{sum(call.audio_s for call in lately) / min(_SPAN_S, end_s):.2f}",
                f"{sum(call.audio_s for call in answered) / end_s:.2f}",
            ),
            _row(
                "late starts",
                str(sum(call.is_late for call in calls if call.at_s > end_s - _SPAN_S)),
                str(sum(call.is_late for call in calls)),
            ),
        ]
        if self._first is None or len(self._readings) < 2:
            return [*rows, _row("server's metrics", "", self._fault or "none yet; give --metrics-url")]
        return rows + self._of_models(self._first)

    def _of_models(self, first: Reading) -> list[dict[str, str]]:
        last = self._readings[-1]
        rows = []
        for name in sorted(set(last.models) - {ENSEMBLE}):
            lately, whole = (
                last.models[name].since(before.models.get(name, Model())) for before in (self._readings[0], first)
            )
            rows.append(_row(f"{name}: batch size", _shown(lately.mean_batch), _shown(whole.mean_batch)))
            rows.append(_row(f"{name}: queue, ms", _shown(lately.mean_queue_ms), _shown(whole.mean_queue_ms)))
        if last.engine is not None:
            lately_in_use = [reading.engine.slots_in_use for reading in self._readings if reading.engine]
            rows.append(_row("whisper: slots in use", _shown(sum(lately_in_use) / len(lately_in_use)), ""))
        rows.append(_row("windows that wait for their turn", f"{last.windows_waiting:.0f}", ""))
        return rows


def add_tab(environment: Environment, ledger: Ledger, workload: Workload) -> None:
    """Where there is a page."""
    page = environment.web_ui
    if page is None or page.app is None or isinstance(environment.runner, WorkerRunner):
        return
    tab = AudioTab(ledger)
    if workload.metrics_url:
        gevent.spawn(tab.watch, environment, workload.metrics_url)
    page.template_args |= {
        "extended_tabs": [{"title": "Audio", "key": _KEY}],
        "extended_tables": [{"key": _KEY, "structure": _COLUMNS}],
    }

    @page.app.after_request
    def with_audio(response: Response) -> Response:
        if request.path == "/stats/requests" and response.status_code == 200:
            statistics: dict[str, Any] = response.get_json()
            table = {"key": _KEY, "data": tab.rows()}
            response.set_data(json.dumps({**statistics, "extended_stats": [table]}))
        return response


def _row(figure: str, now: str, whole: str) -> dict[str, str]:
    return {"figure": figure, "now": now, "all": whole}


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
