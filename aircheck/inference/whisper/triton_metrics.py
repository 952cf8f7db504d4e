"""The engine's statistics as custom metrics of Triton, among its own at /metrics.

Published once a second and not where they arise: each is a round trip between the model's process and Triton.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aircheck.inference.whisper.statistics import EngineStatistics

EVERY_S = 1.0

_GAUGES = (
    ("aircheck_whisper_slots", "n_slots", "Decoding slots."),
    ("aircheck_whisper_slots_in_use", "n_slots_in_use", "Decoding slots that hold a window."),
    ("aircheck_whisper_windows_waiting", "n_waiting", "Windows that wait for a decoding slot."),
)
_COUNTERS = (
    ("aircheck_whisper_passes_total", "n_passes", "Decoding passes over windows, answered."),
    ("aircheck_whisper_tokens_total", "n_tokens", "Tokens generated, those of attempts that were given up too."),
    ("aircheck_whisper_fallbacks_total", "n_fallbacks", "Attempts at a higher temperature."),
    ("aircheck_whisper_seeks_total", "n_seeks", "Passes beside the first over a window, for speech without text."),
    ("aircheck_whisper_queue_seconds_total", "queue_s", "Seconds that passes waited before they were encoded."),
    ("aircheck_whisper_compute_seconds_total", "compute_s", "Seconds from a pass's encoding to its answer."),
)


@dataclass
class _Published:
    field: str
    is_counter: bool
    family: Any  # kept: Triton frees a family's metrics with it
    metric: Any
    value: float = 0.0

    def publish(self, statistics: EngineStatistics) -> None:
        value = float(getattr(statistics, self.field))
        if value == self.value:
            return
        if self.is_counter:
            self.metric.increment(value - self.value)
        else:
            self.metric.set(value)
        self.value = value


class EngineMetrics:
    """Publishes an engine's statistics, on a thread of its own, until closed."""

    def __init__(self, statistics: Callable[[], EngineStatistics], family: Any) -> None:
        """family : `triton_python_backend_utils.MetricFamily`"""
        self._statistics = statistics
        self._published = [
            *(_published(family, family.GAUGE, *rest) for rest in _GAUGES),
            *(_published(family, family.COUNTER, *rest) for rest in _COUNTERS),
        ]
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="whisper-metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Returns when nothing is published any more."""
        self._closing.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closing.wait(EVERY_S):
            statistics = self._statistics()
            for one in self._published:
                one.publish(statistics)


def _published(family: Any, kind: Any, name: str, field: str, description: str) -> _Published:
    own = family(name=name, description=description, kind=kind)
    return _Published(field, kind == family.COUNTER, own, own.Metric(labels={}))
