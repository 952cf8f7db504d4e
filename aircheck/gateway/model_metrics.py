"""What Triton counts of its models, by the names and units of Prometheus: seconds, and one name for all models.

Triton counts microseconds, and of a model that answers later than its `execute` returns, as `whisper` does, only the
time within `execute`; the engine's own counters have the rest.
"""

from __future__ import annotations

from collections import defaultdict

from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families

ENSEMBLE = "audio_safety"
ENGINE = "whisper"
_US = 1e-6
_COMPUTE = ("input", "infer", "output")


def model_metrics(triton_text: str) -> list[Metric]:
    """By model: requests, batches, and the seconds that requests queued and were computed; of Triton's /metrics."""
    seen: dict[str, dict[str, float]] = defaultdict(dict)
    for family in text_string_to_metric_families(triton_text):  # whose names are without _total
        for sample in family.samples:
            if family.name.startswith("aircheck_whisper_"):
                seen[ENGINE][family.name] = sample.value
            elif "model" in sample.labels and "reason" not in sample.labels:
                seen[sample.labels["model"]][family.name] = sample.value
    families = [
        CounterMetricFamily("aircheck_model_requests", "Requests that a model has answered.", labels=["model"]),
        CounterMetricFamily("aircheck_model_batches", "Batches that these were computed in.", labels=["model"]),
        CounterMetricFamily("aircheck_model_queue_seconds", "Seconds that requests waited.", labels=["model"]),
        CounterMetricFamily("aircheck_model_compute_seconds", "Seconds that requests were computed.", labels=["model"]),
    ]
    for model, values in sorted(seen.items()):
        if model == ENSEMBLE or "nv_inference_count" not in values:
            continue
        for family, value in zip(families, _counts(values), strict=True):
            family.add_metric([model], value)
    return list(families)


def _counts(values: dict[str, float]) -> tuple[float, float, float, float]:
    """Requests, batches, queue and compute seconds."""
    queue_s = _US * values.get("nv_inference_queue_duration_us", 0.0)
    compute_s = _US * sum(values.get(f"nv_inference_compute_{part}_duration_us", 0.0) for part in _COMPUTE)
    queue_s += values.get("aircheck_whisper_queue_seconds", 0.0)
    compute_s += values.get("aircheck_whisper_compute_seconds", 0.0)
    return values["nv_inference_count"], values.get("nv_inference_exec_count", 0.0), queue_s, compute_s
