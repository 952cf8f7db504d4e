"""What the server's own metrics say, read beside a load: Prometheus text, two readings and their difference.

Triton's names: https://github.com/triton-inference-server/server/blob/main/docs/user_guide/metrics.md
"""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from aircheck.load.errors import LoadError

_TIMEOUT_S = 10.0
_US_PER_MS = 1000.0
ENSEMBLE = "audio_safety"


@dataclass(frozen=True)
class Model:
    """Of one model, since its start.

    executions : batches; inferences over executions is the mean batch size
    queue_ms, compute_ms : summed over requests
    """

    requests: float = 0.0
    inferences: float = 0.0
    executions: float = 0.0
    queue_ms: float = 0.0
    compute_ms: float = 0.0
    duration_ms: float = 0.0

    def since(self, before: Model) -> Model:
        return Model(*(after - then for after, then in zip(_values(self), _values(before), strict=True)))

    @property
    def mean_batch(self) -> float | None:
        return self.inferences / self.executions if self.executions else None

    @property
    def mean_queue_ms(self) -> float | None:
        return self.queue_ms / self.requests if self.requests else None

    @property
    def mean_compute_ms(self) -> float | None:
        return self.compute_ms / self.requests if self.requests else None

    @property
    def mean_duration_ms(self) -> float | None:
        return self.duration_ms / self.requests if self.requests else None


@dataclass(frozen=True)
class Engine:
    """Of Whisper's engine, which batches by itself: slots that hold a window now, and sums since its start."""

    slots_in_use: float
    passes: float
    queue_s: float
    compute_s: float


@dataclass(frozen=True)
class Reading:
    """The server's metrics at one moment.

    audio_s, windows, turn_s : sums since the server's start; turn_s is the time that windows waited for their turn
    windows_waiting, windows_in_flight : now, in the gateway and at the models
    engine : None where its metrics are not there
    gpu_utilization : 0 to 1, the mean over GPUs; None where there is none
    """

    at_unix_s: float
    models: Mapping[str, Model]
    audio_s: float
    windows: float
    turn_s: float
    windows_waiting: float
    windows_in_flight: float
    gpu_utilization: float | None
    engine: Engine | None = None


def read(url: str) -> Reading:
    """Raises LoadError when the server's metrics cannot be read."""
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as response:
            text = response.read().decode()
    except (OSError, ValueError, urllib.error.URLError) as error:
        raise LoadError(f"metrics {url}: {error}; is it the address that aircheck serve prints?") from None
    return parse(text, time.time())


def parse(text: str, at_unix_s: float) -> Reading:
    """The reading in Prometheus's text format."""
    sums: dict[str, float] = {}
    by_model: dict[str, dict[str, float]] = {}
    gpus: list[float] = []
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "nv_gpu_utilization":
                gpus.append(sample.value)
            if sample.name.startswith("nv_inference") and (model := sample.labels.get("model")) is not None:
                own = by_model.setdefault(model, {})
                own[sample.name] = own.get(sample.name, 0.0) + sample.value
            else:
                sums[sample.name] = sums.get(sample.name, 0.0) + sample.value
    return Reading(
        at_unix_s=at_unix_s,
        models={name: _model(values) for name, values in by_model.items()},
        audio_s=sums.get("aircheck_gateway_audio_seconds_total", 0.0),
        windows=sums.get("aircheck_gateway_windows_total", 0.0),
        turn_s=sums.get("aircheck_gateway_turn_seconds_sum", 0.0),
        windows_waiting=sums.get("aircheck_gateway_windows_waiting", 0.0),
        windows_in_flight=sums.get("aircheck_gateway_windows_in_flight", 0.0),
        gpu_utilization=sum(gpus) / len(gpus) if gpus else None,
        engine=_engine(sums),
    )


def _engine(sums: Mapping[str, float]) -> Engine | None:
    names = ("slots_in_use", "passes_total", "queue_seconds_total", "compute_seconds_total")
    values = [sums.get(f"aircheck_whisper_{name}") for name in names]
    if any(value is None for value in values):
        return None
    return Engine(*(value or 0.0 for value in values))


def _model(values: Mapping[str, float]) -> Model:
    compute = ("compute_input", "compute_infer", "compute_output")
    return Model(
        requests=values.get("nv_inference_request_success_total", values.get("nv_inference_request_success", 0.0)),
        inferences=values.get("nv_inference_count_total", values.get("nv_inference_count", 0.0)),
        executions=values.get("nv_inference_exec_count_total", values.get("nv_inference_exec_count", 0.0)),
        queue_ms=_us(values, "queue") / _US_PER_MS,
        compute_ms=sum(_us(values, part) for part in compute) / _US_PER_MS,
        duration_ms=_us(values, "request") / _US_PER_MS,
    )


def _us(values: Mapping[str, float], part: str) -> float:
    name = f"nv_inference_{part}_duration_us"
    return values.get(f"{name}_total", values.get(name, 0.0))


def _values(model: Model) -> tuple[float, ...]:
    return (
        model.requests,
        model.inferences,
        model.executions,
        model.queue_ms,
        model.compute_ms,
        model.duration_ms,
    )
