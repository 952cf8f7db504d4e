"""A call's trace, from its caller through the gateway to the models."""

from __future__ import annotations

import time

import pytest
import typer
from opentelemetry import context, propagate
from typer.testing import CliRunner

from aircheck.commands.trace import trace
from aircheck.server import Server
from aircheck.settings import Settings
from aircheck.tracing.names import CALL_ID, FILES, KEY, MODELS
from aircheck.tracing.reading import TraceError, find
from aircheck_client import AircheckClient, Context
from support.audio import wav
from support.metrics import Scrape
from support.speech import speak
from support.triton import FREE_PORTS

TRACE_ID, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
MODEL_NAMES = ("audio_decode", "acoustic_safety", "whisper", "text_safety", "policy")
WORDS = "the crocodile carries a violet umbrella through the cathedral"
WAIT_S = 120.0


@pytest.fixture(scope="module")
def traced(tmp_path_factory):
    """The folder of a server that keeps traces, one scan's verdict and metrics after it."""
    folder = tmp_path_factory.mktemp("traces")
    with Server(Settings.load(trace_dir=folder, **FREE_PORTS)) as server, AircheckClient(server.url) as client:
        data = wav(speak(WORDS))
        given_up = client.stream(data)
        next(iter(given_up))
        token = context.attach(propagate.extract({"traceparent": f"00-{TRACE_ID}-{CALLER}-01"}))
        verdict = client.scan(data, Context(), idempotency_key="upload 7")
        context.detach(token)
        deadline_s = time.monotonic() + WAIT_S  # spans come about a second after they end
        while not _has(folder, "fold") or not _has(folder, "policy"):
            assert time.monotonic() < deadline_s
            time.sleep(0.5)
        yield folder, verdict, Scrape(server.metrics_url)


def _has(folder, name):
    try:
        return any(span.name == name for span in find(folder, TRACE_ID).spans)
    except TraceError:
        return False


def test_it_goes_on_from_the_callers_span(traced):
    found = find(traced[0], TRACE_ID)
    assert (found.root.name, found.root.parent_id) == ("Scan", CALLER)
    assert found.root.attributes[KEY] == "upload 7"
    assert {"upload", "header", "decode window", "window", "turn", "models", "fold"} <= {s.name for s in found.spans}


def test_each_model_is_below_the_window_that_it_worked_on(traced):
    found = find(traced[0], TRACE_ID)
    spans = {span.id: span for span in found.spans}
    seen = [span for span in found.spans if span.service == MODELS and span.name in MODEL_NAMES]
    assert [span.name for span in seen] == list(MODEL_NAMES)  # by their starts: one step of the ensemble after another
    for span in seen:
        above = [span]
        while above[-1].parent_id in spans:
            above.append(spans[above[-1].parent_id])
        assert [one.name for one in above[-3:]] == ["models", "window", "Scan"]
        # no more than its start: Triton ends a span when it has freed the request, which is after the answer was sent
        assert above[-3].start_s <= span.start_s <= above[-3].end_s


def test_no_word_that_was_said_is_in_a_trace(traced):
    folder, verdict, _ = traced
    said = " ".join(segment.text for segment in verdict.segments).lower()
    kept = (folder / FILES[0]).read_text().lower()
    assert "umbrella" in said
    assert [word for word in ("crocodile", "violet", "umbrella", "cathedral") if word in kept] == []


def test_the_models_stand_a_traced_call_that_is_given_up(traced):
    assert traced[2].total("aircheck_gateway_triton_restarts_total") == 0


def test_the_command_shows_where_the_time_went(traced):
    app = typer.Typer()
    app.command()(trace)
    folder = str(traced[0])
    call_id = find(traced[0], TRACE_ID).root.attributes[CALL_ID]
    shown = CliRunner().invoke(app, [call_id, "--trace-dir", folder])
    assert shown.exit_code == 0, shown.output
    assert TRACE_ID in shown.output
    assert "whisper" in shown.output
    listed = CliRunner().invoke(app, ["--trace-dir", folder])
    assert "upload 7" in listed.output
    missing = CliRunner().invoke(app, ["ffffffffff", "--trace-dir", folder])
    assert missing.exit_code == 2
