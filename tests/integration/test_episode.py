"""`Scan`: a recording of any length to a stream of verdicts."""

import itertools
import threading
import time

import numpy as np
import pytest

from aircheck_client import (
    AircheckClient,
    Context,
    DeadlineError,
    InvalidAudioError,
    Retry,
    ScanCancelledError,
)
from support.audio import encode, silence, silent_mp3, tone, wav
from support.speech import speak

LINES = ["good evening and welcome", "today we talk about the garden", "thank you and good night"]


@pytest.fixture(scope="module")
def recording():
    lines = np.concatenate([part for line in LINES for part in (speak(line), silence(1.0))])
    return np.concatenate([lines, silence(20.0), lines])  # longer than a window


@pytest.mark.parametrize("name", ["wav-16", "mp3", "m4a", "opus"])
def test_window_verdicts_come_in_order_and_the_episodes_last(client, recording, name):
    *windows, episode = client.stream(encode(recording, name))
    assert [verdict.scope for verdict in windows] == ["window"] * len(windows)
    assert episode.scope == "episode"
    assert len(windows) > 1
    for before, after in itertools.pairwise(windows):
        assert after.start_s == pytest.approx(before.end_s, abs=1e-3)
    assert windows[-1].end_s == pytest.approx(episode.duration_s, abs=1e-3)
    assert episode.duration_s == pytest.approx(len(recording) / 16_000, abs=0.2)
    assert all(verdict.duration_s <= 30 for verdict in windows)
    assert [s for verdict in windows for s in verdict.segments] == list(episode.segments)
    for verdict in windows:
        assert all(verdict.start_s <= s.start_s <= s.end_s <= verdict.end_s + 0.05 for s in verdict.segments)
        if name in ("mp3", "m4a"):  # the others say how long they are at their end
            assert verdict.recording_s == pytest.approx(episode.duration_s, abs=0.2)


def test_a_short_clip_is_an_episode_of_one_window(client):
    window, episode = client.stream(wav(tone(0.5)))
    assert (window.start_s, episode.start_s) == (0.0, 0.0)
    assert window.duration_s == episode.duration_s == pytest.approx(0.5)


def test_the_context_reaches_the_verdict(client):
    context = Context(content_type="audiobook", market="SE", policy_pack="strict")
    verdict = client.scan(wav(tone(1.0)), context)
    assert verdict.context == context
    assert verdict.policy_pack == "strict"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (np.random.default_rng(0).bytes(10_000), "not a known audio file"),
        (wav(tone(1.0), channels=9), "9 channels exceed the limit of 8"),
    ],
    ids=["random bytes", "9 channels"],
)
def test_bad_recordings_are_refused_with_their_fault(client, data, words):
    with pytest.raises(InvalidAudioError, match=words):
        client.scan(data)


def test_a_truncated_recording_is_checked_and_the_verdict_says_so(client):
    data = encode(tone(20.0), "mp3")
    verdict = client.scan(data[: len(data) // 2])
    assert verdict.duration_s == pytest.approx(10, abs=1)
    assert any("truncated" in warning for warning in verdict.warnings)


def test_an_unknown_policy_pack_is_refused_by_name(client):
    with pytest.raises(InvalidAudioError, match=r"no policy pack 'none-such'; available: default, strict"):
        client.scan(wav(tone(1.0)), Context(policy_pack="none-such"))


def test_a_client_that_goes_away_frees_the_server(server, client, models):
    """Twice as many episodes as may run at a time are begun and abandoned; the next one is still answered."""
    long = silent_mp3(10)
    held = 2 * server.settings.max_parallel_episodes * 600 / 30
    before, _ = models.statistics("audio_decode")
    for _ in range(2 * server.settings.max_parallel_episodes):
        stream = client.stream(long)
        next(stream)
        stream.close()
    assert client.scan(wav(tone(1.0))).scope == "episode"
    # What was cancelled stops soon: the count of windows comes to rest far below what the episodes hold.
    count, _ = models.statistics("audio_decode")
    for _ in range(60):
        time.sleep(0.5)
        now, _ = models.statistics("audio_decode")
        if now == count:
            assert count - before < 0.7 * held
            break
        count = now
    else:
        pytest.fail("the server still works on abandoned episodes after 30 s")


def test_a_deadline_is_kept(server):
    with (
        AircheckClient(server.url, retry=Retry(attempts=1)) as impatient,
        pytest.raises(DeadlineError, match="in time"),
    ):
        impatient.scan(silent_mp3(5), timeout_s=0.3)


def test_closing_the_client_cancels_its_scans(server):
    recording = silent_mp3(10)
    impatient = AircheckClient(server.url, retry=Retry(attempts=1))
    stream = impatient.stream(recording)
    next(stream)
    threading.Timer(0.2, impatient.close).start()
    with pytest.raises(ScanCancelledError):
        list(stream)
    with pytest.raises(ScanCancelledError):
        impatient.scan(recording)
