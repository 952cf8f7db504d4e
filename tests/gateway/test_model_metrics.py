"""Triton's counters under the names and units of ours."""

from __future__ import annotations

from aircheck.gateway.model_metrics import model_metrics

TRITON = """\
# HELP nv_inference_count Number of inferences performed
# TYPE nv_inference_count counter
nv_inference_count{model="audio_safety",version="1"} 7
nv_inference_count{model="policy",version="1"} 7
nv_inference_count{model="whisper",version="1"} 9
# HELP nv_inference_exec_count Number of model executions
# TYPE nv_inference_exec_count counter
nv_inference_exec_count{model="policy",version="1"} 5
# HELP nv_inference_request_failure Number of failures
# TYPE nv_inference_request_failure counter
nv_inference_request_failure{model="policy",reason="OTHER",version="1"} 3
# HELP nv_inference_queue_duration_us Cumulative queuing duration in microseconds
# TYPE nv_inference_queue_duration_us counter
nv_inference_queue_duration_us{model="policy",version="1"} 250000
nv_inference_queue_duration_us{model="whisper",version="1"} 500000
# HELP nv_inference_compute_input_duration_us in microseconds
# TYPE nv_inference_compute_input_duration_us counter
nv_inference_compute_input_duration_us{model="policy",version="1"} 1000000
# HELP nv_inference_compute_infer_duration_us in microseconds
# TYPE nv_inference_compute_infer_duration_us counter
nv_inference_compute_infer_duration_us{model="policy",version="1"} 2000000
# HELP nv_inference_compute_output_duration_us in microseconds
# TYPE nv_inference_compute_output_duration_us counter
nv_inference_compute_output_duration_us{model="policy",version="1"} 3000000
# HELP aircheck_whisper_queue_seconds_total Seconds
# TYPE aircheck_whisper_queue_seconds_total counter
aircheck_whisper_queue_seconds_total 1.5
# HELP aircheck_whisper_compute_seconds_total Seconds
# TYPE aircheck_whisper_compute_seconds_total counter
aircheck_whisper_compute_seconds_total 40
"""


def samples(text: str) -> dict[tuple[str, str], float]:
    return {
        (sample.name, sample.labels["model"]): sample.value
        for family in model_metrics(text)
        for sample in family.samples
    }


def test_each_model_has_its_requests_batches_and_seconds():
    found = samples(TRITON)
    assert found["aircheck_model_requests_total", "policy"] == 7
    assert found["aircheck_model_batches_total", "policy"] == 5
    assert found["aircheck_model_queue_seconds_total", "policy"] == 0.25
    assert found["aircheck_model_compute_seconds_total", "policy"] == 6.0


def test_whispers_seconds_are_tritons_and_its_engines():
    found = samples(TRITON)
    assert found["aircheck_model_queue_seconds_total", "whisper"] == 2.0
    assert found["aircheck_model_compute_seconds_total", "whisper"] == 40.0


def test_the_ensemble_is_no_model():
    assert {model for _, model in samples(TRITON)} == {"policy", "whisper"}


def test_without_triton_there_are_none():
    assert samples("") == {}
