"""A call's trace, from its caller through the gateway to the models."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

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
from aircheck_client.schema import Verdict
from support.audio import wav
from support.metrics import Scrape
from support.speech import speak
from support.triton import FREE_PORTS

TRACE_IDS = ("4bf92f3577b34da6a3ce929d0e0e4736", "5bf92f3577b34da6a3ce929d0e0e4737", "6bf92f3577b34da6a3ce929d0e0e4738")
CALLER = "00f067aa0ba902b7"
MODEL_NAMES = ("audio_decode", "acoustic_safety", "whisper", "text_safety", "policy")
WORDS = "the crocodile carries a violet umbrella through the cathedral"
WAIT_S = 60.0


@dataclass(frozen=True)
class Traced:
    folder: Path
    trace_id: str
    verdict: Verdict
    metrics: Scrape

    @property
    def trace(self):
        return find(self.folder, self.trace_id)


@pytest.fixture(scope="module")
def traced(tmp_path_factory):
    """What a server that keeps traces has of one scan, after another was given up.

    Triton sends its spans once, and gives up after ten seconds: of a machine that pauses, some are lost.
    """
    folder = tmp_path_factory.mktemp("traces")
    with Server(Settings.load(trace_dir=folder, **FREE_PORTS)) as server, AircheckClient(server.url) as client:
        data = wav(speak(WORDS))
        given_up = client.stream(data)
        next(iter(given_up))
        for trace_id in TRACE_IDS:
            token = context.attach(propagate.extract({"traceparent": f"00-{trace_id}-{CALLER}-01"}))
            verdict = client.scan(data, Context(), idempotency_key="upload 7")
            context.detach(token)
            if _all_came(folder, trace_id):
                break
        yield Traced(folder, trace_id, verdict, Scrape(server.metrics_url))


def _all_came(folder, trace_id):
    deadline_s = time.monotonic() + WAIT_S  # spans come about a second after they end
    while time.monotonic() < deadline_s:
        with suppress(TraceError):
            if {"fold", *MODEL_NAMES} <= {span.name for span in find(folder, trace_id).spans}:
                return True
        time.sleep(0.5)
    return False


def test_it_goes_on_from_the_callers_span(traced):
    found = traced.trace
    assert (found.root.name, found.root.parent_id) == ("Scan", CALLER)
    assert found.root.attributes[KEY] == "upload 7"
    assert {"upload", "header", "decode window", "window", "turn", "models", "fold"} <= {s.name for s in found.spans}


def test_each_model_is_below_the_window_that_it_worked_on(traced):
    found = traced.trace
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
    said = " ".join(segment.text for segment in traced.verdict.segments).lower()
    kept = (traced.folder / FILES[0]).read_text().lower()
    assert "umbrella" in said
    assert [word for word in ("crocodile", "violet", "umbrella", "cathedral") if word in kept] == []


def test_the_models_stand_a_traced_call_that_is_given_up(traced):
    assert traced.metrics.total("aircheck_gateway_triton_restarts_total") == 0


def test_the_command_shows_where_the_time_went(traced):
    app = typer.Typer()
    app.command()(trace)
    folder = str(traced.folder)
    call_id = traced.trace.root.attributes[CALL_ID]
    shown = CliRunner().invoke(app, [call_id, "--trace-dir", folder])
    assert shown.exit_code == 0, shown.output
    assert traced.trace_id in shown.output
    assert "whisper" in shown.output
    listed = CliRunner().invoke(app, ["--trace-dir", folder])
    assert "upload 7" in listed.output
    missing = CliRunner().invoke(app, ["ffffffffff", "--trace-dir", folder])
    assert missing.exit_code == 2
