import contextlib
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preprocessing.container import DecodeReport, Limits, check_wav_size, frames, probe, resampled, to_wav
from preprocessing.errors import AudioError, CorruptAudioError, LimitExceededError, UnsupportedFormatError
from support.audio import FFMPEG_FORMATS, FORMATS, encode, tone, wav

LIMITS = Limits(max_bytes=2**26, max_duration_s=30.0, max_channels=8, max_sample_rate_hz=192_000)


@pytest.mark.parametrize("name", FORMATS)
def test_the_bytes_alone_tell_what_is_in_them(name):
    info = probe(encode(tone(2.0), name), LIMITS)
    assert info.channels == 1
    assert info.dali_decodes == (name not in FFMPEG_FORMATS)
    if info.duration_s is not None:
        assert info.duration_s == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_decodes_to_the_signal_that_went_in(name):
    decoded = np.concatenate(list(resampled(frames(encode(tone(2.0), name), LIMITS, DecodeReport()), 16_000)), axis=1)[
        0
    ]
    assert len(decoded) / 16_000 == pytest.approx(2.0, abs=0.1)
    spectrum = np.abs(np.fft.rfft(decoded[8_000:24_000]))
    assert np.argmax(spectrum) == pytest.approx(440, abs=2)  # one second: a bin a hertz


@pytest.mark.parametrize("channels", [1, 2, 3, 6, 7, 8])
def test_any_number_of_channels_is_decoded_without_harm(channels):
    report = DecodeReport()
    blocks = list(resampled(frames(wav(tone(1.0), channels=channels), LIMITS, report), 16_000))
    assert {block.shape[0] for block in blocks} == {channels}
    assert report.decoded_s == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        (b"", CorruptAudioError, "0 bytes"),
        (bytes(5000), UnsupportedFormatError, "not a known audio file"),
        (b"hello, I am no audio at all" * 50, UnsupportedFormatError, "not a known audio file"),
        (b"RIFF\x00\x00\x00\x00WAVE", UnsupportedFormatError, "not a known audio file"),
        (wav(tone(1.0), channels=9), LimitExceededError, "9 channels exceed the limit of 8"),
        (wav(tone(0.1), rate_hz=384_000), LimitExceededError, "sample rate 384000 Hz exceeds the limit of 192000 Hz"),
        (wav(tone(0.1), rate_hz=2_000), LimitExceededError, "below the limit"),
        (wav(tone(30.01)), LimitExceededError, "30.01 s exceed the limit of 30 s"),
    ],
    ids=["empty", "zeros", "text", "bare header", "9 channels", "384 kHz", "2 kHz", "too long"],
)
def test_what_cannot_be_used_is_refused_with_its_fault(data, error, words):
    with pytest.raises(error, match=words):
        probe(data, LIMITS)


def test_too_many_bytes_are_refused_before_they_are_read():
    with pytest.raises(LimitExceededError, match="101 bytes exceed the limit of 100 bytes"):
        probe(bytes(101), Limits(100, 30.0, 8, 192_000))


@pytest.mark.parametrize(
    "playlist",
    [
        b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile:///etc/hostname\n",
        b"ffconcat version 1.0\nfile '/etc/hostname'\n",
        b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
    ],
    ids=["hls", "concat", "sdp"],
)
def test_formats_that_make_ffmpeg_open_other_files_are_not_opened(playlist):
    with pytest.raises(UnsupportedFormatError):
        probe(playlist, LIMITS)


def test_a_wav_header_that_claims_more_than_follows_is_found_out():
    data = wav(tone(1.0))
    with pytest.raises(CorruptAudioError, match="claims 32000 bytes of audio, but 9956 follow"):
        check_wav_size(data[:10_000])
    check_wav_size(data)


def test_a_streamed_wav_of_unknown_length_is_no_lie():
    data = bytearray(wav(tone(1.0)))
    struct.pack_into("<I", data, data.index(b"data") + 4, 0xFFFFFFFF)
    check_wav_size(bytes(data))


def test_an_mp3_cut_in_half_is_told_from_a_whole_one():
    data = encode(tone(4.0), "mp3")
    assert probe(to_wav(data, LIMITS), LIMITS).duration_s == pytest.approx(4.0, abs=0.05)
    with pytest.raises(CorruptAudioError, match=r"the header says 4\.\d\d s, but only [12]\.\d\d s follow"):
        to_wav(data[: len(data) // 2], LIMITS)


def test_a_damaged_packet_inside_a_clip_is_an_error_that_says_where():
    data = bytearray(encode(tone(4.0), "mp3"))
    middle = len(data) // 2
    data[middle : middle + 2000] = np.random.default_rng(0).bytes(2000)
    with pytest.raises(CorruptAudioError, match=r"packets are damaged, the first at [12]\.\d\d s"):
        to_wav(bytes(data), LIMITS)


def test_decoding_stops_at_the_limit_whatever_the_header_says():
    data = encode(tone(8.0), "adts")  # ADTS has no header that states a length
    assert probe(data, LIMITS).duration_s is None
    with pytest.raises(LimitExceededError, match="exceed the limit of 5 s"):
        to_wav(data, Limits(2**26, 5.0, 8, 192_000))


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
        assert probe(to_wav(bytes(data[: int(keep * len(data))]), LIMITS), LIMITS).channels
