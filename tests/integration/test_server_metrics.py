"""What a real server counts of what it did."""

from __future__ import annotations

import re
import time

import pytest

from aircheck.settings import ROOT
from aircheck_client import InvalidAudioError
from support.audio import encode, tone, wav
from support.metrics import Scrape
from support.speech import speak

THREAT = "I will find you and I will kill you. Stay away from my house. "
WAIT_S = 120.0


@pytest.fixture(scope="module")
def scanned(server, client):
    """The metrics before and after a scan, and its verdict."""
    before = Scrape(server.metrics_url)
    verdict = client.scan(wav(speak(THREAT)))
    deadline_s = time.monotonic() + WAIT_S  # the engine's are published once a second
    while not _grown(before, after := Scrape(server.metrics_url), "aircheck_whisper_passes_total"):
        assert time.monotonic() < deadline_s
        time.sleep(0.2)
    return before, after, verdict


def _grown(before: Scrape, after: Scrape, name: str, **labels: str) -> float:
    return after.total(name, **labels) - before.total(name, **labels)


def test_a_verdict_is_counted_with_all_that_it_says(scanned):
    before, after, verdict = scanned
    assert _grown(before, after, "aircheck_gateway_decisions_total", action="block", pack="default") == 1
    assert verdict.action == "block"
    assert {finding.category for finding in verdict.findings} == {"violence_threat"}
    assert _grown(before, after, "aircheck_gateway_findings_total", category="violence_threat") == 1
    assert _grown(before, after, "aircheck_gateway_findings_total") == 1
    assert _grown(before, after, "aircheck_gateway_audio_seconds_total") == pytest.approx(verdict.duration_s)
    assert _grown(before, after, "aircheck_gateway_speech_seconds_total") == pytest.approx(verdict.coverage.speech_s)
    unread_s = _grown(before, after, "aircheck_gateway_unread_seconds_total", reason="untranscribed")
    assert unread_s == pytest.approx(verdict.coverage.untranscribed_s)


def test_the_engine_counts_its_work(scanned):
    before, after, verdict = scanned
    n_words = sum(len(segment.text.split()) for segment in verdict.segments)
    assert _grown(before, after, "aircheck_whisper_tokens_total") >= n_words > 5
    assert _grown(before, after, "aircheck_whisper_compute_seconds_total") > 0
    assert after.total("aircheck_whisper_slots") >= 1


def test_each_model_has_its_queue_and_compute_seconds(scanned):
    before, after, _ = scanned
    for model in ("audio_decode", "acoustic_safety", "whisper", "text_safety", "policy"):
        assert _grown(before, after, "aircheck_model_requests_total", model=model) >= 1
        assert _grown(before, after, "aircheck_model_compute_seconds_total", model=model) > 0
        assert _grown(before, after, "aircheck_model_queue_seconds_total", model=model) >= 0


@pytest.mark.parametrize(
    ("name", "data", "error"),
    [
        ("mov", encode(tone(2.0), "m4a")[:400], "IncompleteAudioError"),
        ("unknown", b"no audio at all" * 20, "UnsupportedFormatError"),
    ],
    ids=["mov", "unknown"],
)
def test_what_cannot_be_decoded_is_counted_by_its_format(server, client, name, data, error):
    before = Scrape(server.metrics_url)
    with pytest.raises(InvalidAudioError):
        client.scan(data)
    after = Scrape(server.metrics_url)
    assert _grown(before, after, "aircheck_gateway_decode_errors_total", format=name) == 1
    assert _grown(before, after, "aircheck_gateway_decode_errors_total", format=name, error=error) == 1


def test_what_alerts_add_up_is_there_before_it_happens(server):
    samples = [sample for family in Scrape(server.metrics_url).families for sample in family.samples]
    there = {(sample.name, *sorted(sample.labels.values())) for sample in samples}
    assert ("aircheck_gateway_calls_total", "INTERNAL", "Listen") in there
    assert ("aircheck_gateway_decisions_total", "limit", "strict") in there
    assert ("aircheck_gateway_unread_seconds_total", "unclassified") in there


def test_the_operators_page_lists_every_metric(server):
    page = (ROOT / "docs" / "operations.md").read_text()
    listed = set(re.findall(r"^\| `(aircheck_\w+)` \|", page, re.M))
    families = {family.name + "_total" * (family.type == "counter") for family in Scrape(server.metrics_url).families}
    assert listed == {name for name in families if name.startswith("aircheck_") and not name.endswith("_created")}
