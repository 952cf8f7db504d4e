import io
import struct

import av
import pytest

from preprocessing.container import Limits, probe
from preprocessing.errors import (
    CorruptAudioError,
    EncryptedAudioError,
    IncompleteAudioError,
    LimitExceededError,
    NoAudioTrackError,
    UnsupportedFormatError,
)
from support.audio import FORMATS, encode, tone, wav
from support.containers import Track, mux

LIMITS = Limits(max_bytes=2**26, max_duration_s=30.0, max_channels=8, max_sample_rate_hz=192_000)


@pytest.mark.parametrize("name", FORMATS)
def test_the_bytes_alone_tell_what_is_in_them(name):
    info = probe(encode(tone(2.0), name), LIMITS)
    assert info.channels == 1
    if info.duration_s is not None:
        assert info.duration_s == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        (b"", CorruptAudioError, "0 bytes"),
        (bytes(5000), UnsupportedFormatError, "not a known audio file"),
        (b"hello, I am no audio at all" * 50, UnsupportedFormatError, "not a known audio file"),
        (b"<!DOCTYPE html><html>" * 50, UnsupportedFormatError, "not a known audio file (looks like an HTML page)"),
        (b"%PDF-1.7" * 50, UnsupportedFormatError, "not a known audio file (looks like a PDF document)"),
        (b"RIFF\x00\x00\x00\x00WAVE", UnsupportedFormatError, "not a known audio file"),
        (wav(tone(1.0), channels=9), LimitExceededError, "9 channels exceed the limit of 8"),
        (wav(tone(0.1), rate_hz=384_000), LimitExceededError, "sample rate 384000 Hz exceeds the limit of 192000 Hz"),
        (wav(tone(0.1), rate_hz=2_000), LimitExceededError, "below the limit"),
        (wav(tone(30.01)), LimitExceededError, "30.01 s exceed the limit of 30 s"),
    ],
    ids=["empty", "zeros", "text", "HTML", "PDF", "bare header", "9 channels", "384 kHz", "2 kHz", "too long"],
)
def test_what_cannot_be_used_is_refused_with_its_fault(data, error, words):
    with pytest.raises(error) as caught:
        probe(data, LIMITS)
    assert words in str(caught.value)


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


def test_metadata_in_another_encoding_do_not_matter():
    data = mux([Track([(0.0, tone(1.0))], metadata={"title": "Caffee"}), Track([(0.0, tone(1.0))], default=True)])
    (warning,) = probe(data.replace(b"Caffee", b"Caf\xe9 1"), LIMITS).warnings
    assert 'audio track 1 of 2 ("Caf\N{REPLACEMENT CHARACTER} 1")' in warning


# --- MP4


def box(data: bytes, *path: bytes) -> int:
    """The offset of the four letters of the last of nested boxes."""
    at = 0
    for name in path:
        at = data.index(name, at + 4)
    return at


def without_index(data: bytes) -> bytes:
    """An MP4 as its recorder leaves it when it is stopped: moov, which comes last, was never written."""
    return data[: box(data, b"moov") - 4]


def encrypted(data: bytes, scheme: bytes, kind: bytes = b"enca") -> bytes:
    """An MP4 whose sample entry says that it is encrypted (ISO/IEC 23001-7); the sound is left as it is."""
    entry = box(data, b"moov", b"stsd", b"mp4a")
    sinf = b"".join(
        struct.pack(">I4s", 8 + len(body), name) + body
        for name, body in ((b"frma", b"mp4a"), (b"schm", bytes(4) + scheme + struct.pack(">I", 0x10000)))
    )
    sinf = struct.pack(">I4s", 8 + len(sinf), b"sinf") + sinf
    end = entry - 4 + struct.unpack_from(">I", data, entry - 4)[0]
    grown = bytearray(data)
    grown[entry : entry + 4] = kind
    grown[end:end] = sinf
    for path in ((b"moov",), (b"moov", b"trak"), (b"moov", b"mdia"), (b"moov", b"minf"), (b"moov", b"stbl")):
        at = box(data, *path) - 4
        struct.pack_into(">I", grown, at, struct.unpack_from(">I", data, at)[0] + len(sinf))
    for at in (box(data, b"moov", b"stsd") - 4, entry - 4):
        struct.pack_into(">I", grown, at, struct.unpack_from(">I", data, at)[0] + len(sinf))
    return bytes(grown)


def test_an_mp4_without_its_index_is_incomplete():
    data = without_index(encode(tone(1.0), "m4a"))
    with pytest.raises(IncompleteAudioError, match="incomplete: no moov atom"):
        probe(data, LIMITS)


def test_an_mp4_whose_index_breaks_off_is_incomplete():
    data = encode(tone(1.0), "m4a")
    with pytest.raises(IncompleteAudioError, match=r"incomplete: the moov atom breaks off after \d+ bytes"):
        probe(data[: box(data, b"moov") + 60], LIMITS)


@pytest.mark.parametrize(
    ("kind", "scheme", "words"),
    [
        (b"enca", b"cenc", r"encrypted \(CENC\)"),
        (b"enca", b"cbcs", r"encrypted \(CENC, scheme cbcs\)"),
        (b"drms", b"itun", r"encrypted \(FairPlay\)"),
    ],
)
def test_an_encrypted_mp4_is_named_as_that(kind, scheme, words):
    with pytest.raises(EncryptedAudioError, match=words):
        probe(encrypted(encode(tone(1.0), "m4a"), scheme, kind), LIMITS)


# --- tracks


def video_only() -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame(32, 32, "yuv420p")))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def test_a_file_of_other_tracks_is_named_as_that():
    with pytest.raises(NoAudioTrackError, match="no audio track, only video"):
        probe(video_only(), LIMITS)


def test_every_track_that_is_not_heard_is_named():
    tracks = [
        Track([(0.0, tone(1.0))], metadata={"language": "deu", "title": "Kommentar\n"}),
        Track([(0.0, tone(1.0))], default=True),
        Track([(0.0, tone(1.0))]),
    ]
    assert probe(mux(tracks), LIMITS).warnings == (
        'audio track 1 of 3 (deu, "Kommentar") was not checked: track 2, which players play, was',
        "audio track 3 of 3 was not checked: track 2, which players play, was",
    )


def test_a_file_with_one_track_has_no_warning():
    assert probe(mux([Track([(0.0, tone(1.0))])]), LIMITS).warnings == ()
