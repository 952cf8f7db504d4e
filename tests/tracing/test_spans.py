"""Spans of a process into files and to a collector, and back out of the files."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.trace import get_current_span

from aircheck.gateway.errors import StartError
from aircheck.settings import Settings
from aircheck.tracing import spans
from aircheck.tracing.names import CALL_ID, FILES, KEY, MODELS
from aircheck.tracing.otlp import from_json, to_json
from aircheck.tracing.reading import MIN_PREFIX, TraceError, find, last_calls, traces
from aircheck.tracing.sinks import TraceFile

PROTOBUF, JSON = "application/x-protobuf", "application/json"
TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = {"traceparent": f"00-{TRACE_ID}-00f067aa0ba902b7-01"}


def traced(folder: Path, metadata: dict[str, str] | None = None, **settings: object) -> None:
    """A call with a window below it, within tracing."""

    async def window() -> None:
        with spans.span("turn", priority="normal"):
            await asyncio.sleep(0)

    async def call() -> None:
        with spans.call("Scan", "4711aa", metadata or {}):
            await asyncio.create_task(spans.in_span(window, "window", start_s=1.5))

    with spans.tracing(Settings.load(trace_dir=folder, **settings)):
        asyncio.run(call())


def test_a_call_and_what_is_below_it_are_one_trace(tmp_path):
    traced(tmp_path)
    (trace,) = traces(tmp_path).values()
    assert [span.name for span in trace.spans] == ["Scan", "window", "turn"]
    scan, window, turn = trace.spans
    assert (scan.parent_id, window.parent_id, turn.parent_id) == ("", scan.id, window.id)
    assert trace.root is scan
    assert scan.attributes[CALL_ID] == "4711aa"
    assert window.attributes == {"start_s": 1.5}
    assert scan.start_s <= window.start_s <= turn.start_s <= turn.end_s <= window.end_s <= scan.end_s


def test_a_callers_trace_goes_on(tmp_path):
    traced(tmp_path, PARENT)
    (trace,) = traces(tmp_path).values()
    assert trace.id == TRACE_ID
    assert trace.root.name == "Scan"  # its parent is the caller's, which is elsewhere
    assert trace.root.parent_id == "00f067aa0ba902b7"


@pytest.mark.parametrize(("flags", "kept"), [("00", 0), ("01", 1)])
def test_the_caller_decides_whether_its_trace_is_kept(tmp_path, flags, kept):
    traced(tmp_path, {"traceparent": f"00-{TRACE_ID}-00f067aa0ba902b7-{flags}"}, trace_ratio=0.5)
    assert (tmp_path / FILES[0]).read_bytes().count(TRACE_ID.encode()) >= kept
    assert bool((tmp_path / FILES[0]).read_bytes()) == bool(kept)


def test_a_share_of_zero_keeps_nothing(tmp_path):
    traced(tmp_path, trace_ratio=0.0)
    assert (tmp_path / FILES[0]).read_bytes() == b""


def test_an_error_is_told_by_its_type_alone(tmp_path):
    with (
        spans.tracing(Settings.load(trace_dir=tmp_path)),
        pytest.raises(ValueError, match="secret"),
        spans.call("Scan", "1", {}),
        spans.span("decode"),
    ):
        raise ValueError("a secret word")
    (trace,) = traces(tmp_path).values()
    assert [span.is_error for span in trace.spans] == [True, True]
    assert b"ValueError" in (tmp_path / FILES[0]).read_bytes()
    assert b"secret" not in (tmp_path / FILES[0]).read_bytes()


def test_without_tracing_a_call_goes_on_and_nothing_is_sent():
    with spans.call("Scan", "1", PARENT), spans.span("window"):
        assert spans.outgoing() == ()
    assert spans.triton_arguments() == []
    assert spans.triton_environment({"a": "b"}) == {"a": "b"}


def test_what_belongs_to_no_call_is_not_traced(tmp_path):
    def probe() -> None:
        with spans.span("models"):
            spans.past_span("decode window", 0.0)
            assert spans.outgoing() == ()

    with spans.tracing(Settings.load(trace_dir=tmp_path)):
        contextvars.Context().run(probe)
    assert (tmp_path / FILES[0]).read_bytes() == b""


def test_what_goes_on_to_triton_is_the_present_span(tmp_path):
    with spans.tracing(Settings.load(trace_dir=tmp_path)), spans.call("Scan", "1", PARENT), spans.span("models"):
        ((name, value),) = spans.outgoing()
    models = next(span for span in find(tmp_path, TRACE_ID).spans if span.name == "models")
    assert (name, value) == ("traceparent", f"00-{TRACE_ID}-{models.id}-01")


@pytest.mark.parametrize(
    "sent", [lambda id: (exported(id), PROTOBUF), lambda id: (as_json(id), JSON)], ids=["pb", "json"]
)
def test_tritons_spans_join_the_trace_and_strangers_are_left_out(tmp_path, sent):
    with spans.tracing(Settings.load(trace_dir=tmp_path)):
        url = next(flag for flag in spans.triton_arguments() if "url=" in flag).partition("url=")[2]
        with spans.call("Scan", "1", PARENT):
            for trace_id in (TRACE_ID, "f" * 32):
                post(url, *sent(trace_id))
        with pytest.raises(urllib.error.HTTPError, match="400"):
            post(url, b"\xff\xff rubbish", sent(TRACE_ID)[1])
    trace = find(tmp_path, TRACE_ID)
    assert [(span.service, span.name) for span in trace.spans if span.service == MODELS] == [(MODELS, "whisper")]
    assert list(traces(tmp_path)) == [TRACE_ID]


def test_a_proxy_never_stands_between_triton_and_the_receiver(tmp_path):
    with spans.tracing(Settings.load(trace_dir=tmp_path)):
        assert spans.triton_environment({"no_proxy": "a.example"})["no_proxy"] == "a.example,127.0.0.1"


def test_a_collector_gets_the_spans(tmp_path):
    with (
        collector() as (url, requests),
        spans.tracing(Settings.load(otlp_endpoint=url)),
        spans.call("Scan", "1", PARENT),
    ):
        pass
    (request,) = requests
    (resource,) = request.resource_spans
    assert [span.name for scope in resource.scope_spans for span in scope.spans] == ["Scan"]


def test_a_collector_that_is_gone_costs_its_spans_only(tmp_path):
    with collector() as (url, _):
        pass
    traced(tmp_path, otlp_endpoint=url)
    assert len(traces(tmp_path)) == 1


def test_the_files_hold_no_more_than_they_may_and_keep_the_newest(tmp_path):
    file = TraceFile(tmp_path, 4000)
    for number in range(100):
        file.write(ExportTraceServiceRequest.FromString(exported(f"{number:032x}")))
    file.close()
    assert sum((tmp_path / name).stat().st_size for name in FILES) <= 4000
    kept = list(traces(tmp_path))
    assert kept == [f"{number:032x}" for number in range(100 - len(kept), 100)]
    assert len(kept) >= 5
    assert {(tmp_path / name).stat().st_mode & 0o777 for name in FILES} == {0o600}


def test_a_trace_is_found_by_each_of_its_names(tmp_path):
    async def call() -> None:
        with spans.call("Scan", "0123456789abcdef", PARENT):
            get_current_span().set_attribute(KEY, "upload 7")

    with spans.tracing(Settings.load(trace_dir=tmp_path)):
        asyncio.run(call())
    assert [call.attributes[KEY] for call in last_calls(tmp_path, 3)] == ["upload 7"]
    for name in (TRACE_ID, TRACE_ID[:MIN_PREFIX], "0123456789abcdef", "012345", "upload 7"):
        assert find(tmp_path, name).id == TRACE_ID
    for name in (TRACE_ID[: MIN_PREFIX - 1], "", "upload"):
        with pytest.raises(TraceError, match="no trace"):
            find(tmp_path, name)


def test_a_line_that_was_cut_short_is_left_out(tmp_path):
    traced(tmp_path)
    with (tmp_path / FILES[0]).open("ab") as file:
        file.write(b'{"resourceSpans":[{"scopeSpans":[{"sp')
    assert len(traces(tmp_path)) == 1


def test_a_folder_without_traces_is_named_with_the_remedy(tmp_path):
    with pytest.raises(TraceError, match=f"{tmp_path}.*--trace-dir"):
        traces(tmp_path)


def test_a_folder_that_cannot_be_written_stops_the_start(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(StartError, match="file/traces"),
        spans.tracing(Settings.load(trace_dir=tmp_path / "file/traces")),
    ):
        pass


def exported(trace_id: str) -> bytes:
    """What Triton sends of a request."""
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    resource.resource.attributes.add(key="service.name").value.string_value = MODELS
    span = resource.scope_spans.add().spans.add(name="whisper", trace_id=bytes.fromhex(trace_id), span_id=b"12345678")
    number = int(trace_id[-4:], 16)
    span.start_time_unix_nano, span.end_time_unix_nano = (
        (1_700_000_000 + number) * 10**9,
        (1_700_000_001 + number) * 10**9,
    )
    return request.SerializeToString()


def as_json(trace_id: str) -> bytes:
    """The same as Triton 2.51 writes it."""
    return to_json(ExportTraceServiceRequest.FromString(exported(trace_id))).encode()


def post(url: str, body: bytes, content_type: str) -> None:
    request = urllib.request.Request(url, body, {"Content-Type": content_type}, method="POST")
    with urllib.request.urlopen(request, timeout=30):
        pass


@contextmanager
def collector() -> Iterator[tuple[str, list[ExportTraceServiceRequest]]]:
    """An HTTP server that takes what a collector takes."""
    requests: list[ExportTraceServiceRequest] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            requests.append(ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", requests
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


NO_ID = b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"x"}]}]}]}'


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b'{"resourceSpans": 3}', NO_ID])
def test_what_is_no_otlp_is_refused(text):
    with pytest.raises(ValueError, match="no OTLP"):
        from_json(text)


def test_whisper_is_drawn_until_the_step_that_waits_for_it(tmp_path):
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    resource.resource.attributes.add(key="service.name").value.string_value = MODELS
    for name, id, parent_id, start_s, end_s in (
        ("whisper", "w", "e", 10, 11),
        ("compute", "x", "w", 10, 11),
        ("text_safety", "t", "e", 15, 17),
        ("compute", "y", "t", 16, 17),
    ):
        span = resource.scope_spans.add().spans.add(name=name, trace_id=b"t" * 16, span_id=8 * id.encode())
        span.start_time_unix_nano, span.end_time_unix_nano = start_s * 10**9, end_s * 10**9
        span.parent_span_id = 8 * parent_id.encode()
    file = TraceFile(tmp_path, 2**20)
    file.write(request)
    file.close()
    (trace,) = traces(tmp_path).values()
    times_s = {span.name: (span.start_s, span.end_s) for span in trace.spans}
    assert times_s == {"whisper": (10, 15), "text_safety": (15, 17), "text_safety compute": (16, 17)}
