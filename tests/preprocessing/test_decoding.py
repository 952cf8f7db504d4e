import contextlib
import dataclasses
import io
import struct

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preprocessing.container import Limits, opened, probe
from preprocessing.decoding import SAMPLE_RATE_HZ, DecodeReport, decode, decode_whole
from preprocessing.errors import AudioError, CorruptAudioError, LimitExceededError
from support.audio import FORMATS, encode, tone, wav
from support.cases import case
from support.containers import Track, mux

LIMITS = Limits(max_bytes=2**26, max_duration_s=30.0, max_channels=8, max_sample_rate_hz=192_000)


def decoded(data: bytes, limits: Limits = LIMITS) -> tuple[np.ndarray, DecodeReport]:
    report = DecodeReport()
    return np.concatenate(list(decode(data, limits, report))), report


def whole(data: bytes, limits: Limits = LIMITS) -> tuple[np.ndarray, tuple[str, ...]]:
    with opened(data, limits) as source:
        return decode_whole(source, limits)


def level(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(samples))))


def pitch(samples: np.ndarray, start_s: float) -> int:
    """The loudest frequency in the half second from `start_s`, in Hz."""
    first = round(start_s * SAMPLE_RATE_HZ)
    return 2 * int(np.argmax(np.abs(np.fft.rfft(samples[first : first + SAMPLE_RATE_HZ // 2]))))


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_decodes_to_the_signal_that_went_in(name):
    samples, report = decoded(encode(tone(2.0), name))
    assert len(samples) / SAMPLE_RATE_HZ == pytest.approx(2.0, abs=0.1)
    assert report.decoded_s == pytest.approx(len(samples) / SAMPLE_RATE_HZ, abs=1e-3)
    assert pitch(samples, 0.5) == 440
    assert level(samples[8_000:24_000]) == pytest.approx(0.5 / 2**0.5, rel=0.1)
    assert report.degradations() == []


@pytest.mark.parametrize("channels", [1, 2, 3, 6, 7, 8])
def test_any_number_of_channels_is_decoded_without_harm(channels):
    samples, report = decoded(wav(tone(1.0), channels=channels))
    assert pitch(samples, 0.2) == 440
    assert report.decoded_s == pytest.approx(1.0)


@pytest.mark.parametrize(("muxer", "encoder"), [("ipod", "aac"), ("flac", "flac"), ("wav", "pcm_s16le")])
def test_dialogue_on_the_centre_of_six_channels_keeps_its_level(muxer, encoder):
    samples, _ = decoded(surround(tone(1.0, rate_hz=48_000), muxer, encoder))
    assert level(samples[4_000:12_000]) == pytest.approx(0.5 / 2**0.5, rel=0.1)


def surround(centre: np.ndarray, muxer: str, encoder: str) -> bytes:
    """A 5.1 recording at 48 kHz with sound on its centre channel alone."""
    channels = np.zeros((len(centre), 6), np.float32)
    channels[:, 2] = centre
    frame = av.AudioFrame.from_ndarray(channels.reshape(1, -1), format="flt", layout="5.1")
    frame.sample_rate = 48_000
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=muxer) as container:
        stream = container.add_stream(encoder, rate=48_000, layout="5.1")
        size = stream.codec_context.frame_size or 1024
        resampler = av.AudioResampler(format=stream.format.name, layout="5.1", rate=48_000, frame_size=size)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def test_frames_longer_than_a_conversion_block_come_out_whole():
    samples = np.random.default_rng(0).standard_normal(8 * SAMPLE_RATE_HZ).astype(np.float32) * 0.1
    heard, _ = decoded(wav(samples, subtype="FLOAT"))
    np.testing.assert_allclose(heard, samples, atol=1e-6)


# --- damage


def test_an_mp3_cut_in_half_is_told_from_a_whole_one():
    data = encode(tone(4.0), "mp3")
    assert len(whole(data)[0]) / SAMPLE_RATE_HZ == pytest.approx(4.0, abs=0.05)
    with pytest.raises(CorruptAudioError, match=r"the header says 4\.\d\d s, but only [12]\.\d\d s follow"):
        whole(data[: len(data) // 2])


def test_a_damaged_packet_inside_a_clip_is_an_error_that_says_where():
    data = bytearray(encode(tone(4.0), "mp3"))
    middle = len(data) // 2
    data[middle : middle + 2000] = np.random.default_rng(0).bytes(2000)
    with pytest.raises(CorruptAudioError, match=r"packets are damaged, the first at [12]\.\d\d s"):
        whole(bytes(data))


@pytest.mark.parametrize(
    "tail", [b"APETAGEX" + bytes(20_000), b"\xff" * 4_000, b"TAG" + bytes(125)], ids=["APE tag", "garbage", "ID3v1"]
)
def test_what_follows_the_last_frame_of_an_mp3_is_no_damage(tail):
    samples, warnings = whole(encode(tone(3.0), "mp3") + tail)
    assert len(samples) / SAMPLE_RATE_HZ == pytest.approx(3.0, abs=0.05)
    assert warnings == ()


def test_decoding_stops_at_the_limit_whatever_the_header_says():
    data = encode(tone(8.0), "adts")  # ADTS has no header that states a length
    assert probe(data, LIMITS).duration_s is None
    with pytest.raises(LimitExceededError, match="exceed the limit of 5 s"):
        decoded(data, Limits(2**26, 5.0, 8, 192_000))


class BeginsAnotherTrack:
    """An open container from which PyAV 18.1 reads a track that was not there when it was opened."""

    def __init__(self, container):
        self.container, self.start_time = container, container.start_time

    def demux(self, stream):
        yield from self.container.demux(stream)
        raise IndexError("list index out of range")


def test_a_track_that_begins_within_the_file_ends_nothing():
    with opened(encode(tone(2.0), "m4a"), LIMITS) as source:
        again = dataclasses.replace(source, container=BeginsAnotherTrack(source.container))
        assert len(decode_whole(again, LIMITS)[0]) / SAMPLE_RATE_HZ == pytest.approx(2.0, abs=0.1)


_SOURCES = {name: encode(tone(0.5), name) for name in ("wav-16", "flac", "vorbis", "mp3", "m4a", "webm")}


@settings(max_examples=150, deadline=None)
@given(
    name=st.sampled_from(sorted(_SOURCES)),
    cuts=st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=40)), max_size=6),
    keep=st.floats(0.01, 1.0),
)
def test_hostile_bytes_either_decode_or_raise_an_audio_error(name, cuts, keep):
    data = bytearray(_SOURCES[name])
    for where, patch in cuts:
        at = int(where * (len(data) - 1))
        data[at : at + len(patch)] = patch
    with contextlib.suppress(AudioError):  # any other exception, a crash or a hang fails the test
        samples, _ = whole(bytes(data[: int(keep * len(data))]))
        assert np.isfinite(samples).all()


# --- tracks and channels


@pytest.mark.parametrize(("muxer", "encoder"), [("matroska", "pcm_s16le"), ("mp4", "aac")])
def test_the_default_track_is_heard(muxer, encoder):
    tracks = [Track([(0.0, tone(1.0))]), Track([(0.0, tone(1.0, 880.0))], default=True)]
    samples, _ = decoded(mux(tracks, muxer, encoder))
    assert pitch(samples, 0.2) == 880


@pytest.mark.parametrize("name", ["track2default.m4a", "track2default.mka"])
def test_the_default_track_of_a_recording_is_heard_and_the_other_is_named(name):
    samples, warnings = whole(case(name))
    assert level(samples) > 0.05  # the first track is silent
    assert any("track 1 of 2 was not checked" in warning for warning in warnings)


@pytest.mark.parametrize("name", ["antiphase.wav", "antiphase.mp3"])
def test_a_recording_in_opposite_phase_is_heard_with_a_warning(name):
    samples, warnings = whole(case(name))
    assert level(samples) > 0.05
    assert any("opposite phase" in warning for warning in warnings)


def test_a_sample_that_is_no_number_costs_nothing_but_itself():
    voice = tone(2.0)
    voice[16_000] = np.nan
    samples, warnings = whole(wav(voice, subtype="FLOAT"))
    assert np.isfinite(samples).all()
    assert pitch(samples, 0.0) == pitch(samples, 1.5) == 440
    assert warnings == ("samples that are no numbers (NaN, infinite) were taken as silence: at 1.00 s",)


# --- time


CLOCKS = [
    ("matroska", "pcm_s16le", 16_000),
    ("mp4", "aac", 44_100),
    ("webm", "libopus", 48_000),
    ("ogg", "libopus", 48_000),
    ("mpegts", "aac", 44_100),
    ("flv", "aac", 44_100),
]
FROM_ZERO = [clock for clock in CLOCKS if clock[0] not in ("ogg", "mpegts")]


@pytest.mark.parametrize(("muxer", "encoder", "rate_hz"), CLOCKS)
def test_a_gap_between_timestamps_is_silence(muxer, encoder, rate_hz):
    data = mux([Track([(0.0, tone(1.0)), (11.0, tone(1.0, 880.0))])], muxer, encoder, rate_hz)
    samples, warnings = whole(data)
    assert len(samples) / SAMPLE_RATE_HZ == pytest.approx(12.0, abs=0.1)
    assert pitch(samples, 0.2) == 440
    assert not samples[round(1.1 * SAMPLE_RATE_HZ) : round(10.9 * SAMPLE_RATE_HZ)].any()
    assert pitch(samples, 11.2) == 880
    assert warnings == ()


@pytest.mark.parametrize(
    ("muxer", "encoder", "rate_hz"), [clock for clock in CLOCKS if clock[0] not in ("ogg", "mpegts")]
)
def test_a_late_start_is_silence(muxer, encoder, rate_hz):
    samples, warnings = whole(mux([Track([(5.0, tone(1.0))])], muxer, encoder, rate_hz))
    assert len(samples) / SAMPLE_RATE_HZ == pytest.approx(6.0, abs=0.1)
    assert not samples[: round(4.9 * SAMPLE_RATE_HZ)].any()
    assert pitch(samples, 5.2) == 440
    assert warnings == ()


@pytest.mark.parametrize(("muxer", "encoder", "rate_hz"), [clock for clock in CLOCKS if clock not in FROM_ZERO])
def test_a_broadcasts_clock_is_no_late_start(muxer, encoder, rate_hz):
    samples, warnings = whole(mux([Track([(500.0, tone(2.0))])], muxer, encoder, rate_hz))
    assert len(samples) / SAMPLE_RATE_HZ == pytest.approx(2.0, abs=0.1)
    assert warnings == ()


def test_timestamps_that_jump_beyond_the_limit_leave_no_sound_out():
    data = mux([Track([(0.0, tone(1.0)), (11.0, tone(1.0, 880.0))])], "mpegts", "aac", 44_100)
    samples, warnings = whole(data, Limits(2**26, 5.0, 8, 192_000))
    assert len(samples) / SAMPLE_RATE_HZ == pytest.approx(2.0, abs=0.1)
    assert pitch(samples, 1.3) == 880
    assert any("the timestamps leap at 1.0 s (1 in all)" in warning for warning in warnings)


def test_a_chain_of_ogg_streams_is_one_recording():
    samples, warnings = whole(encode(tone(3.0), "opus") + encode(tone(4.0, 880.0), "opus"))
    assert len(samples) / SAMPLE_RATE_HZ == pytest.approx(7.0, abs=0.1)
    assert (pitch(samples, 1.0), pitch(samples, 6.0)) == (440, 880)
    assert warnings == ()


def test_joined_broadcasts_whose_clocks_begin_anew_are_heard_whole():
    first, second = (mux([Track([(0.0, tone(3.0, hz))])], "mpegts", "aac", 44_100) for hz in (440.0, 880.0))
    samples, warnings = whole(first + second)
    assert len(samples) / SAMPLE_RATE_HZ == pytest.approx(6.0, abs=0.15)
    assert (pitch(samples, 1.0), pitch(samples, 5.0)) == (440, 880)
    assert warnings == ()


def test_a_piece_of_a_live_stream_begins_at_its_first_sound():
    data = mux([Track([(50_000.0, tone(2.0))])])
    samples, warnings = whole(data)
    assert len(samples) / SAMPLE_RATE_HZ == pytest.approx(2.0, abs=0.1)
    assert warnings == ()


def test_packets_that_a_container_holds_twice_are_heard_once():
    once = mux([Track([(0.0, tone(3.0))])], "mpegts", "mp2", 44_100)
    samples, _ = decoded(once + once)
    assert len(samples) / SAMPLE_RATE_HZ == pytest.approx(3.0, abs=0.1)


@pytest.mark.parametrize("pieces", [("mp3", 44_100, 22_050), ("mp3", 22_050, 44_100)], ids=["44-22", "22-44"])
def test_joined_mp3s_of_other_rates_and_channels_are_one_recording(pieces):
    muxer, first_hz, second_hz = pieces
    first = encode(tone(3.0), muxer, wanted_hz=first_hz, channels=2)
    second = encode(tone(5.0, 880.0), muxer, wanted_hz=second_hz)
    samples, warnings = whole(first + second)
    assert len(samples) / SAMPLE_RATE_HZ == pytest.approx(8.0, abs=0.15)
    assert (pitch(samples, 1.0), pitch(samples, 6.0)) == (440, 880)
    assert warnings == ()


@pytest.mark.parametrize("name", ["dai_44s_22m.mp3", "dai_22m_44s.mp3", "rate_change.aac"])
def test_recordings_whose_format_changes_are_heard_whole(name):
    samples, warnings = whole(case(name))
    assert len(samples) / SAMPLE_RATE_HZ == pytest.approx(13.58, abs=0.05)
    assert min(level(part) for part in np.array_split(samples, 10)) > 0.02
    assert warnings == ()


# --- WAV sizes


@pytest.mark.parametrize("size", [0, 0x7FFFF000, 0x7FFFFF00, 0x80000000, 0xFFFFFF00, 0xFFFFFFFF], ids=hex)
@pytest.mark.parametrize("rate_hz", [16_000, 22_050])
def test_a_wav_from_a_pipe_is_heard_whole(size, rate_hz):
    data = bytearray(wav(tone(2.0, rate_hz=rate_hz), rate_hz))
    struct.pack_into("<I", data, data.index(b"data") + 4, size)
    samples, warnings = whole(bytes(data))
    assert len(samples) / SAMPLE_RATE_HZ == pytest.approx(2.0, abs=1e-3)
    assert warnings == ()


def test_a_wav_that_states_too_little_says_so():
    data = bytearray(wav(tone(2.5)))
    struct.pack_into("<I", data, data.index(b"data") + 4, 16_000)
    samples, warnings = whole(bytes(data))
    assert len(samples) / SAMPLE_RATE_HZ == pytest.approx(0.5)
    assert warnings == (
        "64000 bytes follow the 16000 bytes of audio that the WAV header states: they were not checked",
    )
