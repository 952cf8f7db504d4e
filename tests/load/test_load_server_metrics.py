"""Prometheus text to what a load report shows."""

import pytest

from aircheck.load.errors import LoadError
from aircheck.load.server_metrics import Engine, Model, parse, read

TEXT = """
# TYPE nv_inference_request_success counter
nv_inference_request_success{model="whisper",version="1"} 10
# TYPE nv_inference_count counter
nv_inference_count{model="whisper",version="1"} 12
# TYPE nv_inference_exec_count counter
nv_inference_exec_count{model="whisper",version="1"} 4
# TYPE nv_inference_queue_duration_us counter
nv_inference_queue_duration_us{model="whisper",version="1"} 50000
# TYPE nv_inference_compute_infer_duration_us counter
nv_inference_compute_infer_duration_us{model="whisper",version="1"} 3000000
# TYPE nv_gpu_utilization gauge
nv_gpu_utilization{gpu_uuid="a"} 0.5
nv_gpu_utilization{gpu_uuid="b"} 0.9
# TYPE aircheck_whisper_slots_in_use gauge
aircheck_whisper_slots_in_use 3
# TYPE aircheck_whisper_passes_total counter
aircheck_whisper_passes_total 20
# TYPE aircheck_whisper_queue_seconds_total counter
aircheck_whisper_queue_seconds_total 2.5
# TYPE aircheck_whisper_compute_seconds_total counter
aircheck_whisper_compute_seconds_total 40
# TYPE aircheck_gateway_audio_seconds counter
aircheck_gateway_audio_seconds_total 300
# TYPE aircheck_gateway_windows_waiting gauge
aircheck_gateway_windows_waiting 3
# TYPE aircheck_gateway_windows counter
aircheck_gateway_windows_total{action="allow"} 6
aircheck_gateway_windows_total{action="block"} 4
"""


def test_means_are_taken_over_what_happened_between_two_readings():
    reading = parse(TEXT, 5.0)
    assert (reading.audio_s, reading.windows, reading.windows_waiting) == (300, 10, 3)
    assert reading.gpu_utilization == pytest.approx(0.7)
    before = Model(requests=5, inferences=6, executions=1, queue_ms=10, compute_ms=1000)
    assert reading.engine == Engine(slots_in_use=3, passes=20, queue_s=2.5, compute_s=40)
    during = reading.models["whisper"].since(before)
    assert during.mean_batch == 2.0
    assert during.mean_queue_ms == 8.0
    assert during.mean_compute_ms == 400.0


def test_nothing_answered_is_no_mean_and_no_server_an_error_that_says_so():
    assert Model().mean_batch is None
    with pytest.raises(LoadError, match="is it the address that aircheck serve prints"):
        read("http://127.0.0.1:9/metrics")
