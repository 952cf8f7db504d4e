"""What the gateway counts, for Prometheus; `aircheck.gateway.metrics` gives it out.

Names and units as https://prometheus.io/docs/practices/naming/ has them.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

from grpc import StatusCode
from prometheus_client import Counter, Gauge, Histogram

from aircheck_client.schema import Action, Verdict

_STATUSES = (
    StatusCode.OK,
    StatusCode.CANCELLED,
    StatusCode.INVALID_ARGUMENT,
    StatusCode.DEADLINE_EXCEEDED,
    StatusCode.RESOURCE_EXHAUSTED,
    StatusCode.INTERNAL,
    StatusCode.UNAVAILABLE,
    StatusCode.UNAUTHENTICATED,
)
_UNREAD_REASONS = ("undecoded", "untranscribed", "unclassified")

CALLS = Counter("aircheck_gateway_calls", "Calls that have ended, by method and gRPC status.", ["method", "status"])
CALL_SECONDS = Histogram(
    "aircheck_gateway_call_seconds",
    "How long calls took.",
    ["method"],
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200),
)
CALLS_UNDER_WAY = Gauge("aircheck_gateway_calls_under_way", "Calls that have not ended yet.", ["method"])
WINDOWS = Counter("aircheck_gateway_windows", "Windows answered by the models, by the action asked for.", ["action"])
AUDIO_SECONDS = Counter("aircheck_gateway_audio_seconds", "Seconds of audio in these windows.")
WINDOW_SECONDS = Histogram(
    "aircheck_gateway_window_seconds",
    "From a window's turn to the models' answer.",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64),
)
TURN_SECONDS = Histogram(
    "aircheck_gateway_turn_seconds",
    "How long a window waited for its turn, by priority.",
    ["priority"],
    buckets=(0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 300),
)
WINDOWS_WAITING = Gauge("aircheck_gateway_windows_waiting", "Windows that wait for their turn.")
UPLOADED_BYTES = Counter("aircheck_gateway_uploaded_bytes", "Bytes of recordings and clips that have come in.")
DECISIONS = Counter(
    "aircheck_gateway_decisions", "Verdicts on recordings, by the action asked for and the pack.", ["action", "pack"]
)
FINDINGS = Counter("aircheck_gateway_findings", "Findings in the verdicts on recordings.", ["category", "severity"])
SPEECH_SECONDS = Counter("aircheck_gateway_speech_seconds", "Seconds of speech in recordings that have a verdict.")
UNREAD_SECONDS = Counter(
    "aircheck_gateway_unread_seconds", "Seconds of these that nobody could check, by the reason.", ["reason"]
)
DECODE_ERRORS = Counter(
    "aircheck_gateway_decode_errors", "Recordings whose decoding failed, by format and error.", ["format", "error"]
)
SANDBOX_RESTARTS = Counter(
    "aircheck_gateway_sandbox_restarts", "Decoder processes that a recording has cost: ended, or killed by a limit."
)


def begin_at_zero(methods: Iterable[str], packs: Iterable[str]) -> None:
    """Makes the series that alerts and dashboards add up: to Prometheus, a counter that first appears at 1 never rose.

    https://prometheus.io/docs/practices/instrumentation/#avoid-missing-metrics
    """
    for method, status in product(methods, _STATUSES):
        CALLS.labels(method, status.name)
    for action, pack in product(Action, packs):
        DECISIONS.labels(action, pack)
    for reason in _UNREAD_REASONS:
        UNREAD_SECONDS.labels(reason)


def count_verdict(verdict: Verdict) -> None:
    """Counts what a recording's verdict says; also one on the part that was checked before a fault."""
    DECISIONS.labels(verdict.action, verdict.policy_pack).inc()
    for finding in verdict.findings:
        FINDINGS.labels(finding.category, finding.severity).inc()
    SPEECH_SECONDS.inc(verdict.coverage.speech_s)
    for reason in _UNREAD_REASONS:
        UNREAD_SECONDS.labels(reason).inc(max(0.0, getattr(verdict.coverage, f"{reason}_s")))
