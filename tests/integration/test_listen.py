"""Live audio through a real server."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Iterator

import numpy as np
import pytest

from aircheck.evaluation.words import errors
from aircheck.server import Server
from aircheck.settings import Settings
from aircheck_client import AircheckClient, DeadlineError, Pcm, Retry
from support.audio import RATE_HZ, encode, silence, wav
from support.recordings import recordings, samples_of, without_pauses
from support.requests import THREAT, asyncio_client
from support.sources import Interrupted
from support.speech import speak
from support.triton import FREE_PORTS


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


def test_no_word_is_lost_or_doubled_where_talk_without_a_pause_is_cut(server, client):
    """Against the same audio in windows of 30 s; a shorter one has less to understand a word by."""
    spoken = recordings("en")[:6]
    audio = wav(np.concatenate([without_pauses(samples_of(one.path)) for one in spoken]))
    text = " ".join(one.text for one in spoken)
    *windows, live = client.listen(iter([audio]), language="en")
    whole = client.scan(audio, language="en")
    assert len(windows) >= 8
    assert max(window.duration_s for window in windows) <= server.settings.live_window_max_s + 0.2
    found, least = (errors(text, " ".join(item.text for item in one.segments), "en") for one in (live, whole))
    assert found.deletions <= least.deletions + 1
    assert found.insertions <= least.insertions + 1


@pytest.fixture(scope="module")
def impatient_client():
    """Of a server that waits for two seconds."""
    with (
        Server(Settings.load(upload_pause_s=2.0, **FREE_PORTS)) as server,
        AircheckClient(server.url, timeout_s=120, retry=Retry(attempts=1)) as client,
    ):
        yield client


@pytest.mark.parametrize("verb", ["listen", "stream"])
def test_who_stalls_is_told_so_and_gets_what_was_found(impatient_client, verb):
    audio = wav(np.concatenate([speak(THREAT), silence(60.0)]))
    source = Interrupted(audio)
    pieces = iter(lambda: source.read(2**16), b"")
    stream = getattr(impatient_client, verb)(pieces if verb == "listen" else source)
    with pytest.raises(DeadlineError, match="no byte came for 2 s") as raised:
        list(stream)
    source.go_on.set()
    assert raised.value.partial.action == "block"
    assert raised.value.partial.coverage.undecoded_s > 0
