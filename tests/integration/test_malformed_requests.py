"""Requests that cannot be taken, by their field, through a real server."""

from __future__ import annotations

import grpc
import pytest

from aircheck_client.v1 import aircheck_pb2 as v1
from aircheck_client.v1 import aircheck_pb2_grpc

MOST_BYTES = 1000  # of an error's message


@pytest.fixture(scope="module")
def stub(server):
    with grpc.insecure_channel(server.url) as channel:
        yield aircheck_pb2_grpc.AircheckStub(channel)


HUGE = "日" * 300_000


def pcm_start(**fields) -> v1.ListenRequest:
    fields = {"encoding": v1.PcmFormat.ENCODING_S16LE, "sample_rate_hz": 16_000, "channels": 1} | fields
    return v1.ListenRequest(start=v1.ListenStart(pcm=v1.PcmFormat(**fields)))


def scan_start(**fields) -> v1.ScanRequest:
    return v1.ScanRequest(start=v1.ScanStart(**fields))


@pytest.mark.parametrize(
    ("method", "request_", "words"),
    [
        ("Scan", v1.ScanRequest(chunk=b"RIFF"), "start: the first message"),
        ("Scan", v1.ScanRequest(), "start: the first message"),
        ("Scan", scan_start(context=v1.Context(market="sweden")), "context.market"),
        ("Scan", scan_start(context=v1.Context(market=HUGE)), "context.market"),
        ("Scan", scan_start(context=v1.Context(policy_pack=HUGE)), "context.policy_pack"),
        ("Scan", scan_start(context=v1.Context(audience=9)), "context.audience"),
        ("Scan", scan_start(language=HUGE), "language: "),
        ("Scan", scan_start(idempotency_key=HUGE), "idempotency_key"),
        ("Listen", v1.ListenRequest(audio=b"RIFF"), "start: the first message"),
        ("Listen", pcm_start(encoding=0), "pcm.encoding"),
        ("Listen", pcm_start(sample_rate_hz=0), "pcm.sample_rate_hz"),
        ("Listen", pcm_start(channels=99), "pcm.channels"),
        ("ScanClip", v1.ScanClipRequest(context=v1.Context(market=HUGE), audio=b"RIFF"), "context.market"),
        ("ScanClip", v1.ScanClipRequest(), "0 bytes"),
        ("Decide", v1.DecideRequest(duration_s=float("nan")), "(?i)duration"),
        ("Decide", v1.DecideRequest(transcript=v1.Transcript(detected_probability=7)), "transcript.detected_prob"),
        (
            "Decide",
            v1.DecideRequest(text_findings=v1.TextFindings(sentences=[v1.SentenceScores(text="x", scores={HUGE: 7})])),
            "text_findings.sentences.0",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and value.isascii() else "",
)
def test_a_malformed_request_is_told_its_field_in_few_words(stub, method, request_, words):
    call = getattr(stub, method)
    is_stream = method in ("Scan", "Listen")
    with pytest.raises(grpc.RpcError) as raised:
        list(call(iter([request_]), timeout=60)) if is_stream else call(request_, timeout=60)
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert len(raised.value.details().encode()) <= MOST_BYTES
    raised.match(words)


def test_what_comes_after_the_start_is_checked_too(stub):
    for second in (v1.ScanRequest(), scan_start()):
        with pytest.raises(grpc.RpcError, match="chunk: ") as raised:
            list(stub.Scan(iter([scan_start(), second]), timeout=60))
        assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
