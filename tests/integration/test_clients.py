"""The blocking client: sources, options, verbs, against a real server."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor

import fsspec
import grpc
import pytest

from aircheck.policy.service import PolicyService
from aircheck.policy.taxonomy import Category
from aircheck_client import AircheckClient, Context, InvalidAudioError, ScanCancelledError
from aircheck_client.v1 import aircheck_pb2 as v1
from aircheck_client.v1 import aircheck_pb2_grpc
from support.audio import tone, wav
from support.requests import LONG_S, kept_findings, long_recording, threat
from support.sources import Pipe

# ---- sources ----


def test_a_recording_may_come_from_anywhere(client, tmp_path):
    data = wav(tone(1.0))
    path = tmp_path / "tone.wav"
    path.write_bytes(data)
    with fsspec.open("memory://tone.wav", "wb") as file:
        file.write(data)
    with path.open("rb") as opened:
        sources = [str(path), path, data, bytearray(data), memoryview(data), opened, io.BytesIO(data), Pipe(data)]
        sources.append("memory://tone.wav")
        first, *others = [client.scan(source).model_dump_json() for source in sources]
    assert [other == first for other in others] == [True] * len(others)
    assert client.scan_clip("memory://tone.wav").duration_s == pytest.approx(1.0)


def test_an_url_without_a_file_is_named(client):
    with pytest.raises(InvalidAudioError, match="memory://none.wav: cannot be read"):
        client.scan("memory://none.wav")


# ---- options ----


@pytest.mark.parametrize("priority", ["", "interactive", "normal", "bulk"])
def test_every_priority_is_taken(client, priority):
    data = wav(tone(0.5))
    options = {"priority": priority, "idempotency_key": "upload 7"}
    assert client.scan(data, **options) == client.scan_clip(data, **options)


def test_a_transcript_that_nobody_wants_is_left_out_and_the_evidence_is_not(client):
    verdict = client.scan(threat(), transcript=False)
    assert verdict.segments == ()
    assert "kill you" in verdict.findings[0].evidence[0].quote


def test_scores_come_with_each_window_where_they_are_asked_for(client):
    stream = client.stream(threat(), scores=True)
    windows = [verdict for verdict in stream if verdict.scope == "window"]
    assert [(one.start_s, one.end_s) for one in stream.about.scores] == [(one.start_s, one.end_s) for one in windows]
    (scores,) = stream.about.scores
    assert set(scores.categories) == {category.value for category in Category}
    assert scores.categories["violence_threat"] >= windows[0].findings[0].score - 1e-6
    assert scores.events
    stream = client.stream(wav(tone(0.5)))
    list(stream)
    assert stream.about.scores == []


def test_a_stream_tells_of_the_recording_and_how_far_it_is(client):
    stream = client.stream(long_recording())
    before = 0.0
    for verdict in stream:
        if verdict.scope == "window":
            assert stream.about.scan_id
            assert stream.about.recording.codec.startswith("mp3")
            assert stream.about.progress.checked_s >= before
            before = verdict.start_s
    assert stream.about.progress.checked_s == pytest.approx(LONG_S, abs=0.2)
    assert stream.about.progress.received_bytes == len(long_recording())
    assert stream.about.is_complete


def test_the_server_tells_what_it_is(client):
    info = client.info()
    assert {model.role for model in info.models} >= {"speech_activity", "transcription", "text_safety"}
    assert {pack.name for pack in info.policy_packs} >= {"default", "strict"}
    assert "en" in info.languages
    assert info.limits.max_clip_s == 30
    assert info.server_version


def test_a_repeat_under_the_same_key_is_checked_anew_and_gets_the_same_verdict(client):
    def scan(audio):
        stream = client.stream(audio, idempotency_key="upload 7")
        return [*stream], stream.about.scan_id

    with ThreadPoolExecutor(2) as pool:  # also while the first one runs
        repeats = [*pool.map(scan, [threat()] * 2), scan(threat())]
    assert [verdicts for verdicts, _ in repeats] == [repeats[0][0]] * 3
    assert len({scan_id for _, scan_id in repeats}) == 3
    other, _ = scan(wav(tone(0.5)))
    assert other[-1].duration_s == pytest.approx(0.5)


def test_every_call_is_accepted_under_an_id_and_the_callers_name(server):
    start, audio = {"idempotency_key": "upload 7"}, wav(tone(0.5))
    scan = [v1.ScanRequest(start=v1.ScanStart(**start)), v1.ScanRequest(chunk=audio)]
    live = [v1.ListenRequest(start=v1.ListenStart(**start)), v1.ListenRequest(audio=audio)]
    with grpc.insecure_channel(server.url) as channel:
        stub = aircheck_pb2_grpc.AircheckStub(channel)
        accepted = [next(stub.Scan(iter(scan))).accepted, next(stub.Listen(iter(live))).accepted]
        accepted.append(stub.ScanClip(v1.ScanClipRequest(audio=audio, **start)).accepted)
    assert [one.idempotency_key for one in accepted] == ["upload 7"] * 3
    assert len({one.scan_id for one in accepted} - {""}) == 3


# ---- other verbs ----


@pytest.mark.parametrize("pack", ["default", "strict"])
def test_kept_findings_are_decided_as_the_pack_says(server, client, pack):
    context = Context(policy_pack=pack, market="SE")
    findings = kept_findings()
    parts = ("transcript_json", "text_findings_json", "acoustic_findings_json")
    expected = PolicyService(server.settings.policy_dir).decide(
        **{name: model.model_dump_json().encode() for name, model in zip(parts, findings, strict=True)},
        duration_s=5.0,
        warnings_json=b'["an old one"]',
        context_json=context.model_dump_json().encode(),
    )
    assert expected.findings
    assert client.decide(*findings, 5.0, context, warnings=("an old one",)) == expected


def test_a_client_closed_between_calls_says_so(server):
    client = AircheckClient(server.url)
    client.close()
    with pytest.raises(ScanCancelledError):
        client.info()
