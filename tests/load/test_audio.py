"""Clips are real ones, of the length that was asked for, and each index has its own place."""

import numpy as np
import pytest

from aircheck.load.audio import SAMPLE, Recordings
from aircheck.load.errors import LoadError
from preprocessing.decoding import SAMPLE_RATE_HZ
from preprocessing.wave_file import wave_bytes, wave_samples

RAMP = np.arange(10 * SAMPLE_RATE_HZ, dtype=np.float32) / (10 * SAMPLE_RATE_HZ)


@pytest.fixture
def ramp(tmp_path):
    (tmp_path / "notes.txt").write_text("no audio")
    (tmp_path / "ramp.wav").write_bytes(wave_bytes(RAMP[None], SAMPLE_RATE_HZ))
    return Recordings(str(tmp_path))


def test_a_clip_has_its_length_and_goes_on_at_the_start_after_the_end(ramp):
    for index, length_s in ((0, 1.0), (3, 9.5), (7, 25.0)):
        samples = ramp.samples(index, length_s)
        assert len(samples) == length_s * SAMPLE_RATE_HZ
        steps = np.diff(samples)
        assert np.sum(steps < 0) <= length_s / 10 + 1  # a ramp that falls only where it begins anew
    assert np.array_equal(wave_samples(ramp.wave(3, 2.0))[0], ramp.samples(3, 2.0))


def test_places_cover_the_recording_and_are_the_same_each_time(ramp):
    starts = sorted(float(ramp.samples(index, 1.0)[0]) for index in range(20))
    assert np.max(np.diff([0.0, *starts, 1.0])) < 0.1
    assert np.array_equal(ramp.samples(5, 1.0), ramp.samples(5, 1.0))


def test_the_sample_episode_is_what_is_sent_unless_told_otherwise():
    assert Recordings().name == SAMPLE.name
    assert Recordings().duration_s > 100


def test_what_is_no_audio_is_named(tmp_path):
    (tmp_path / "notes.txt").write_text("no audio")
    (tmp_path / "empty").mkdir()
    for path, fault in (
        (tmp_path / "empty", "holds no recording"),
        (tmp_path / "notes.txt", "notes.txt: "),
        ("nowhere", "No such"),
    ):
        with pytest.raises(LoadError, match=fault):
            Recordings(str(path))
