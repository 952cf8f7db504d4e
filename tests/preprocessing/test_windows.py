import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preprocessing.container import Limits
from preprocessing.cutting import LIVE_LEAD, LIVE_TAIL
from preprocessing.errors import CorruptAudioError
from preprocessing.windows import Episode, cut, cut_live
from support.audio import encode, silence, tone, wav
from support.speech import speak

LIVE_MAX_S = 4.0
LIMITS = Limits(max_bytes=2**28, max_duration_s=3600, max_channels=8, max_sample_rate_hz=192_000)
TALK = speak("We met at the station, and then we walked home. It rained, but nobody minded it much that day.")
RNG = np.random.default_rng(7)


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 60_000), min_size=1, max_size=12),
    max_s=st.sampled_from([2.0, 3.7, 10.0, 30.0]),
    loud=st.booleans(),
)
def test_windows_join_to_the_recording_and_are_never_too_long(sizes, max_s, loud):
    samples = RNG.standard_normal(sum(sizes)).astype(np.float32) * (1.0 if loud else 0.0)
    blocks = np.split(samples, np.cumsum(sizes)[:-1])
    windows = list(cut(blocks, max_s))
    np.testing.assert_array_equal(np.concatenate([window.samples for window in windows]), samples)
    assert all(window.duration_s <= max_s for window in windows)
    assert all(window.duration_s >= max_s / 3 - 1e-4 for window in windows[:-1])
    ends = np.cumsum([window.duration_s for window in windows])
    np.testing.assert_allclose([window.start_s for window in windows], [0.0, *ends[:-1]], atol=1e-6)


def test_no_more_is_read_than_a_window_and_a_third_ahead():
    read = []
    windows = cut((read.append(i) or silence(1.0) for i in range(1000)), 30.0)
    assert all(len(read) <= next(windows).start_s + 41 for _ in range(4))


def test_a_long_file_is_decoded_as_its_windows_are_read():
    episode = Episode(encode(tone(120.0), "mp3"), LIMITS)
    windows = episode.windows(10.0)
    next(windows)
    assert episode.report.decoded_s < 20  # not the whole file
    rest = list(windows)
    assert rest[-1].start_s + rest[-1].duration_s == pytest.approx(120.0, abs=0.1)
    assert episode.warnings() == ()


def test_a_window_as_wav_holds_its_samples():
    (window,) = cut([tone(1.0)], 10.0)
    (again,) = Episode(window.wav(), LIMITS).windows(10.0)
    np.testing.assert_allclose(again.samples, window.samples, atol=1e-6)


def test_damage_in_an_episode_is_survived_and_reported():
    data = bytearray(encode(tone(60.0), "mp3"))
    middle = len(data) // 2
    data[middle : middle + 4000] = np.random.default_rng(0).bytes(4000)
    episode = Episode(bytes(data), LIMITS)
    assert sum(window.duration_s for window in episode.windows(10.0)) > 55
    assert any("could not be decoded" in warning for warning in episode.warnings())


@pytest.mark.parametrize("name", ["mp3", "wav-16", "flac"])
def test_a_truncated_episode_is_read_as_far_as_it_goes_and_says_so(name):
    data = encode(tone(40.0), name)
    episode = Episode(data[: len(data) // 2], LIMITS)
    assert sum(window.duration_s for window in episode.windows(10.0)) == pytest.approx(20, abs=2)
    assert any("truncated" in warning for warning in episode.warnings())


def test_a_file_with_no_intact_packet_is_an_error():
    with pytest.raises(CorruptAudioError):
        list(Episode(wav(silence(1.0))[:44], LIMITS).windows(10.0))


def test_live_windows_end_soon_and_join_to_the_whole():
    talk = np.concatenate([TALK, np.zeros(16_000, np.float32), TALK])
    blocks = np.array_split(talk, 97)
    windows = list(cut_live(blocks, LIVE_MAX_S))
    own = [window.samples[window.lead : len(window.samples) - window.tail] for window in windows]
    assert np.array_equal(np.concatenate(own), talk)
    ends_s = np.cumsum([window.duration_s for window in windows])
    np.testing.assert_allclose([window.start_s for window in windows], [0.0, *ends_s[:-1]], atol=1e-6)
    assert max(window.duration_s for window in windows) <= LIVE_MAX_S + 0.2
    assert len(windows) > talk.size / 16_000 / LIVE_MAX_S


def test_a_live_window_is_heard_with_what_lies_around_it():
    talk = np.concatenate([TALK, TALK])
    windows = list(cut_live(np.array_split(talk, 97), LIVE_MAX_S))
    assert len(windows) > 3
    for window in windows:
        first = round(window.start_s * 16_000) - window.lead
        assert np.array_equal(window.samples, talk[first : first + len(window.samples)])
    assert [window.lead for window in windows] == [min(LIVE_LEAD, round(w.start_s * 16_000)) for w in windows]
    assert all(0 < window.tail <= LIVE_TAIL for window in windows[:-1])
    assert windows[-1].tail == 0
    lead_s = windows[-1].lead / 16_000
    assert windows[-1].own_s == pytest.approx((lead_s, lead_s + windows[-1].duration_s))
