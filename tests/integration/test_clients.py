"""Both clients, every verb, against a real server."""

from __future__ import annotations

import asyncio
import io
import itertools
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from functools import cache

import fsspec
import grpc
import numpy as np
import psutil
import pytest

from aircheck.policy.service import PolicyService
from aircheck.policy.taxonomy import Category
from aircheck_client import (
    Action,
    AircheckClient,
    AsyncAircheckClient,
    Context,
    InvalidAudioError,
    Pcm,
    Retry,
    ScanCancelledError,
    ServerError,
)
from aircheck_client.schema import AcousticFindings, Segment, SentenceScores, TextFindings, Transcript
from aircheck_client.v1 import aircheck_pb2 as v1
from aircheck_client.v1 import aircheck_pb2_grpc
from support.audio import RATE_HZ, encode, silence, tone, wav
from support.sources import Interrupted, Pipe
from support.speech import speak

THREAT = "i will find you and i will kill you"
LONG = 90.0  # seconds: three windows
MOST_BYTES = 1000  # of an error's message


@cache
def threat() -> bytes:
    return wav(speak(THREAT))


@cache
def long_recording() -> bytes:
    return encode(silence(LONG), "mp3")


def asyncio_client(server) -> AsyncAircheckClient:
    return AsyncAircheckClient(server.url, timeout_s=120, retry=Retry(attempts=1))


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
    assert stream.about.progress.checked_s == pytest.approx(LONG, abs=0.2)
    assert stream.about.progress.received_bytes == len(long_recording())
    assert stream.about.is_complete


def test_the_server_tells_what_it_is(client):
    info = client.info()
    assert {model.role for model in info.models} >= {"speech_activity", "transcription", "text_safety"}
    assert {pack.name for pack in info.policy_packs} >= {"default", "strict"}
    assert "en" in info.languages
    assert info.limits.max_clip_s == 30
    assert info.server_version


# ---- decide ----


def kept_findings():
    said = Segment(
        start_s=1.0, end_s=3.0, text=THREAT, language="en", avg_logprob=-0.2, no_speech_prob=0.01, compression_ratio=1.1
    )
    scores = dict.fromkeys([category.value for category in Category], 0.01) | {"violence_threat": 0.7}
    sentence = SentenceScores(text=THREAT, start_s=1.0, end_s=3.0, segments=(said,), scores=scores)
    return (
        Transcript(model="w", model_version="1", language="en", segments=(said,)),
        TextFindings(model="t", model_version="1", languages=("en",), sentences=(sentence,)),
        AcousticFindings(model="a", model_version="1"),
    )


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


# ---- asyncio ----


def test_asyncio_has_the_same_verbs_with_the_same_answers(server, client):
    findings = kept_findings()

    async def scenario():
        async with asyncio_client(server) as other:
            assert await other.ready()
            return {
                "info": await other.info(),
                "scan": await other.scan(threat()),
                "stream": [verdict async for verdict in other.stream(wav(tone(1.0)))],
                "scan_clip": await other.scan_clip(threat()),
                "decide": await other.decide(*findings, 5.0),
            }

    assert asyncio.run(scenario()) == {
        "info": client.info(),
        "scan": client.scan(threat()),
        "stream": list(client.stream(wav(tone(1.0)))),
        "scan_clip": client.scan_clip(threat()),
        "decide": client.decide(*findings, 5.0),
    }


def test_several_scans_run_on_one_connection(server):
    lengths_s = [0.5, 1.0, 1.5, 2.0]

    async def scenario():
        async with asyncio_client(server) as client:
            return await asyncio.gather(*(client.scan(wav(tone(seconds))) for seconds in lengths_s))

    assert [verdict.duration_s for verdict in asyncio.run(scenario())] == pytest.approx(lengths_s)


def in_flight(server) -> int:
    with urllib.request.urlopen(server.metrics_url) as answer:
        lines = answer.read().decode().splitlines()
    return int(float(next(line for line in lines if line.startswith("aircheck_gateway_windows_in_flight")).split()[-1]))


@pytest.mark.parametrize("way", ["cancel", "break"])
def test_the_work_of_a_scan_that_is_given_up_ends(server, models, way):
    data = long_recording() * 40  # an hour, of 120 windows
    before, _ = models.statistics("audio_decode")

    async def read(client):
        async for _ in client.stream(data):
            if way == "break":
                return
            await asyncio.sleep(60)

    async def scenario():
        async with asyncio_client(server) as client:
            task = asyncio.create_task(read(client))
            while not await asyncio.to_thread(in_flight, server):
                await asyncio.sleep(0.05)
            if way == "cancel":
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            else:
                await task
            given_up_at = time.monotonic()
            while await asyncio.to_thread(in_flight, server):
                assert time.monotonic() - given_up_at < 2.0  # the contract's, not a measurement
                await asyncio.sleep(0.05)

    asyncio.run(scenario())
    assert models.statistics("audio_decode")[0] - before < 100


def test_closing_the_asyncio_client_is_no_cancelled_task(server):
    async def scenario():
        client = asyncio_client(server)
        source = Interrupted(long_recording())
        stream = client.stream(source)
        await anext(stream)
        await client.close()
        with pytest.raises(ScanCancelledError):
            await anext(stream)
        source.go_on.set()
        for call in (client.info(), client.scan(threat()), client.scan_clip(threat())):
            with pytest.raises(ScanCancelledError):
                await call

    asyncio.run(scenario())


# ---- what fails midway ----


def torn() -> None:
    raise OSError(5, "Input/output error")


def check_partial(partial) -> None:
    """What was found until then; never clean, for the rest is unchecked."""
    assert partial.scope == "episode"
    assert 0 < partial.duration_s < LONG
    assert partial.action >= Action.REVIEW
    assert partial.coverage.undecoded_s >= 1
    assert any("not checked from" in warning for warning in partial.warnings)


@pytest.mark.parametrize("name", ["mp3", "wav-16"])
def test_a_disk_that_fails_midway_keeps_what_was_found(client, name):
    source = Interrupted(encode(silence(LONG), name), torn)
    stream = client.stream(source)
    next(stream)
    source.go_on.set()
    with pytest.raises(InvalidAudioError, match=r"interrupted\.mp3: cannot be read: Input/output error") as raised:
        list(stream)
    check_partial(raised.value.partial)
    assert stream.about.partial == raised.value.partial


def test_a_disk_that_fails_midway_keeps_what_was_found_with_asyncio_too(server):
    async def scenario():
        async with asyncio_client(server) as client:
            source = Interrupted(long_recording(), torn)
            stream = client.stream(source)
            await anext(stream)
            source.go_on.set()
            with pytest.raises(InvalidAudioError, match=r"interrupted\.mp3: cannot be read") as raised:
                async for _ in stream:
                    pass
            check_partial(raised.value.partial)

    asyncio.run(scenario())


def test_a_fault_of_the_callers_own_is_its_own(client):
    def fail() -> None:
        raise KeyError("mine")

    source = Interrupted(long_recording(), fail)
    stream = client.stream(source)
    next(stream)
    source.go_on.set()
    with pytest.raises(KeyError, match="mine"):
        list(stream)
    check_partial(stream.about.partial)


def test_a_decoder_that_dies_midway_keeps_what_was_found(server, client):
    source = Interrupted(long_recording())
    stream = client.stream(source)
    next(stream)
    decoders = decoder_processes(server.pid)
    assert decoders
    for process in decoders:
        process.kill()
    while decoder_processes(server.pid) & decoders:
        time.sleep(0.05)
    source.go_on.set()
    with pytest.raises(ServerError, match="checked until") as raised:
        list(stream)
    check_partial(raised.value.partial)
    assert client.scan(wav(tone(0.5))).action == "allow"


def decoder_processes(gateway: int) -> set[psutil.Process]:
    """Those that decode; not the one that they are forked from."""
    (first,) = [child for child in psutil.Process(gateway).children() if "decoding.zygote" in " ".join(child.cmdline())]
    return set(first.children())


def test_a_text_file_is_told_from_audio(client, tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("notes")
    with path.open() as file, pytest.raises(TypeError, match=r"notes\.txt is open as text.*'rb'"):
        client.scan(file)


# ---- live ----


def lines_apart() -> np.ndarray:
    lines = ["good evening and welcome", THREAT, "thank you and good night"]
    return np.concatenate([silence(0.5), *(part for line in lines for part in (speak(line), silence(2.2)))])


def check_live(windows, episode, samples) -> None:
    assert [window.scope for window in windows] == ["window"] * len(windows)
    for before, after in itertools.pairwise(windows):
        assert after.start_s == pytest.approx(before.end_s, abs=1e-3)
    assert windows[0].start_s == 0
    assert windows[-1].end_s == pytest.approx(episode.duration_s, abs=1e-3)
    assert episode.duration_s == pytest.approx(len(samples) / RATE_HZ, abs=0.2)
    said = " ".join(segment.text for window in windows for segment in window.segments).lower()
    assert [said.count(words) for words in ("welcome", "kill you", "thank you")] == [1, 1, 1]
    assert episode.segments == tuple(segment for window in windows for segment in window.segments)
    assert episode.action == "block"


def test_verdicts_come_while_people_talk(server):
    samples = lines_apart()
    pcm = (samples * 32767).astype("<i2").tobytes()
    sent_s = 0.0

    async def heard() -> AsyncIterator[bytes]:
        nonlocal sent_s
        begun_s = time.monotonic()
        for at in range(0, len(pcm), RATE_HZ // 2):  # a quarter of a second
            yield pcm[at : at + RATE_HZ // 2]
            sent_s = at / 2 / RATE_HZ + 0.25
            await asyncio.sleep(max(0.0, begun_s + sent_s - time.monotonic()))

    async def scenario():
        async with asyncio_client(server) as client:
            verdicts, when_s = [], []
            async for verdict in client.listen(heard(), pcm=Pcm()):
                verdicts.append(verdict)
                when_s.append(sent_s)
            return verdicts, when_s

    (*windows, episode), when_s = asyncio.run(scenario())
    check_live(windows, episode, samples)
    (found,) = [at for at, window in enumerate(windows) if window.findings]
    assert windows[found].findings[0].category == "violence_threat"
    assert when_s[found] < len(samples) / RATE_HZ - 1  # before the end
    assert all(window.duration_s < 10 for window in windows)


@pytest.mark.parametrize("name", ["mp3", "opus"])
def test_an_encoded_stream_is_heard_in_whatever_pieces_it_comes(client, name):
    samples = lines_apart()
    data = encode(samples, name)

    def pieces() -> Iterator[bytes]:
        sizes = itertools.cycle([1, 7, 1000, 4096])
        at = 0
        while at < len(data):
            size = next(sizes)
            yield data[at : at + size]
            at += size

    *windows, episode = client.listen(pieces())
    check_live(windows, episode, samples)


def test_a_live_source_that_breaks_off_is_decided_as_far_as_it_was_heard(client):
    samples = speak(THREAT)

    def heard() -> Iterator[bytes]:
        yield (samples * 32767).astype("<i2").tobytes()
        raise ConnectionResetError("the station is gone")

    stream = client.listen(heard(), pcm=Pcm())
    assert next(stream).scope == "window"
    with pytest.raises(ConnectionResetError, match="station"):
        next(stream)
    assert stream.about.partial.action == "block"


# ---- what is wrong with a request ----


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


def test_a_client_closed_between_calls_says_so(server):
    client = AircheckClient(server.url)
    client.close()
    with pytest.raises(ScanCancelledError):
        client.info()
