"""Recordings that are decoded while they arrive."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.sound_files import sound_file
from preprocessing.container import Limits, probe
from preprocessing.errors import AudioError, IncompleteAudioError
from preprocessing.windows import Episode, Window
from support.arriving import Arriving
from support.audio import RATE_HZ, encode
from support.cases import CASES
from support.formats import every_format

LIMITS = Limits(max_bytes=2**28, max_duration_s=3600, max_channels=8, max_sample_rate_hz=192_000)
INDEX_BEHIND = {"m4a", "caf-alac", "mov", "mp4-alac", "mp4-mp3", "3gp", "two-tracks-mp4", "late-mp4"}


def bursts(seconds: float) -> np.ndarray:
    """Noise with pauses, so that windows end where the sound says; fp32 [samples]."""
    at = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    noise = np.random.default_rng(3).standard_normal(len(at))
    return (0.2 * noise * (np.sin(2 * np.pi * 0.7 * at) > 0)).astype(np.float32)


MADE = every_format(bursts(14.0))


def read(data: bytes | Arriving) -> tuple[list[Window], Episode]:
    episode = Episode(data, LIMITS)
    return list(episode.windows(4.0)), episode


def outcome(data: bytes | Arriving) -> tuple:
    """All that comes of a recording, errors included."""
    try:
        windows, episode = read(data)
    except AudioError as error:
        return type(error), str(error)
    return [window.wav() for window in windows], episode.info, episode.warnings()


@pytest.mark.parametrize("name", MADE)
def test_what_arrives_gives_the_windows_of_what_is_there(name):
    data = MADE[name]()
    held, episode = read(data)
    arrived, later = read(Arriving(data))
    assert [window.start_s for window in arrived] == [window.start_s for window in held]
    for one, other in zip(arrived, held, strict=True):
        np.testing.assert_array_equal(one.samples, other.samples)
    assert later.info == episode.info
    assert later.warnings() == episode.warnings()
    assert later.undecoded_s() == episode.undecoded_s()


@pytest.mark.parametrize("name", sorted(path.name for path in CASES.glob("*.*") if path.suffix != ".md"))
def test_a_reported_recording_is_the_same_however_it_comes(name):
    data = (CASES / name).read_bytes()
    assert outcome(Arriving(data)) == outcome(data)


@pytest.mark.parametrize("name", [name for name in MADE if name not in INDEX_BEHIND])
def test_the_first_window_does_not_wait_for_the_end(name):
    data = MADE[name]()
    arriving = Arriving(data)
    next(Episode(arriving, LIMITS).windows(2.0))
    assert arriving.awaited < max(0.75 * len(data), 2**17)


@pytest.mark.parametrize("name", ["matroska", "wav", "aiff"])
def test_tags_behind_the_sound_are_known_when_it_has_been_read(name):
    _, episode = read(Arriving(sound_file(bursts(20.0), name, {"title": "Behind"})))
    assert episode.info.tags.title == "Behind"


def test_a_truncated_recording_says_so_when_it_has_been_read():
    data = encode(bursts(14.0), "mp3")
    _, episode = read(Arriving(data[: len(data) // 2]))
    assert any("truncated" in warning for warning in episode.warnings())


def test_what_is_no_audio_is_refused_before_it_has_all_come():
    arriving = Arriving(b"<html>" + bytes(2**24))
    with pytest.raises(AudioError, match="HTML"):
        probe(arriving, LIMITS)
    assert arriving.awaited < 2**23


def test_an_index_that_never_comes_is_missed_at_the_end():
    data = encode(bursts(2.0), "m4a")
    with pytest.raises(IncompleteAudioError, match="no moov"):
        probe(Arriving(data[: data.rindex(b"moov") - 4]), LIMITS)
