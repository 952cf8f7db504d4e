"""MP4s that are opened in pieces: what comes of them is what comes of them whole."""

from __future__ import annotations

import io
import struct
from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest

from benchmarks.sound_files import sound_file
from preprocessing import long_mp4 as module
from preprocessing.container import Limits
from preprocessing.long_mp4 import long_mp4
from preprocessing.recording_bytes import HeldBytes
from preprocessing.windows import Episode, Window
from support.arriving import Arriving
from support.audio import RATE_HZ
from support.containers import Track, mux

LIMITS = Limits(max_bytes=2**28, max_duration_s=3600, max_channels=8, max_sample_rate_hz=192_000)
SOUND = (0.3 * np.random.default_rng(5).standard_normal(RATE_HZ * 20)).astype(np.float32)
FIT = ["m4a", "mp4-faststart", "mp4-alac", "3gp"]
UNFIT = ["mp4-fragmented", "mp4-dash", "mov", "flac", "mp3"]


def read(data: bytes | Arriving) -> tuple[list[Window], Episode]:
    episode = Episode(data, LIMITS)
    return list(episode.windows(4.0)), episode


@pytest.fixture
def whole_and_pieces(monkeypatch):
    """Reads a file in one piece, and then, held or arriving, in many."""

    def both(data: bytes, arriving: bool = False) -> tuple[tuple[list[Window], Episode], tuple[list[Window], Episode]]:
        assert long_mp4(HeldBytes(data)) is None
        whole = read(data)
        monkeypatch.setattr(module, "PIECE_PACKETS", 100)
        assert len(list(long_mp4(HeldBytes(data)).pieces())) > 1
        return whole, read(Arriving(data) if arriving else data)

    return both


@pytest.mark.parametrize("arriving", [False, True], ids=["held", "arriving"])
@pytest.mark.parametrize("name", FIT)
def test_pieces_give_the_windows_of_the_whole(whole_and_pieces, name, arriving):
    (whole, one), (pieces, many) = whole_and_pieces(sound_file(SOUND, name, {"title": "Long"}), arriving)
    assert [window.start_s for window in pieces] == [window.start_s for window in whole]
    for piece, window in zip(pieces[:-1], whole[:-1], strict=True):
        np.testing.assert_array_equal(piece.samples, window.samples)
    last = min(len(pieces[-1].samples), len(whole[-1].samples))
    np.testing.assert_array_equal(pieces[-1].samples[:last], whole[-1].samples[:last])
    assert many.info == replace(one.info, duration_s=many.info.duration_s)
    assert many.info.duration_s == pytest.approx(one.info.duration_s, abs=0.002)
    assert many.report.packets == one.report.packets
    assert many.warnings() == one.warnings() == ()


def test_a_late_start_is_kept(whole_and_pieces):
    data = mux([Track([(2.5, SOUND)])], "mp4", "aac", 44_100)
    (whole, _), (pieces, _) = whole_and_pieces(data)
    assert [len(window.samples) for window in pieces] == [len(window.samples) for window in whole]
    assert not pieces[0].samples[: 2 * RATE_HZ].any()


def test_pieces_of_a_file_with_chapters_keep_them(whole_and_pieces):
    (_, one), (_, many) = whole_and_pieces(with_text_track())
    assert [chapter.title for chapter in one.info.tags.chapters] == ["One", "Two"]
    assert many.info.tags == one.info.tags


def with_text_track() -> bytes:
    """An M4B: the muxer writes chapters as a track of text as well."""
    source = av.open(io.BytesIO(sound_file(SOUND, "m4a")))
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream_from_template(source.streams.audio[0])
        container.set_chapters(
            [
                {
                    "id": at,
                    "start": 10_000 * at,
                    "end": 10_000 * (at + 1),
                    "time_base": Fraction(1, 1000),
                    "metadata": {"title": title},
                }
                for at, title in enumerate(["One", "Two"])
            ]
        )
        for packet in source.demux(source.streams.audio[0]):
            if packet.dts is not None:
                packet.stream = stream
                container.mux(packet)
    return buffer.getvalue()


@pytest.mark.parametrize("name", UNFIT)
def test_other_files_are_left_to_ffmpeg(monkeypatch, name):
    monkeypatch.setattr(module, "PIECE_PACKETS", 100)
    assert long_mp4(HeldBytes(sound_file(SOUND, name))) is None


def test_a_file_of_two_audio_tracks_is_left_to_ffmpeg(monkeypatch):
    monkeypatch.setattr(module, "PIECE_PACKETS", 100)
    data = mux([Track([(0.0, SOUND)]), Track([(0.0, SOUND)])], "mp4", "aac", 44_100)
    assert long_mp4(HeldBytes(data)) is None


@pytest.mark.parametrize("table", [b"stts", b"stsc", b"stsz", b"stco", b"elst", b"mdhd", b"mvhd"])
def test_a_damaged_index_is_left_to_ffmpeg_or_read_as_it_is(monkeypatch, table):
    monkeypatch.setattr(module, "PIECE_PACKETS", 100)
    data = sound_file(SOUND, "m4a")
    at = data.rindex(table) + 4
    for offset in range(0, 40, 4):
        for value in (0, 1, 0x7FFF_FFFF, 0xFFFF_FFFF):
            damaged = bytearray(data)
            struct.pack_into(">I", damaged, at + offset, value)
            found = long_mp4(HeldBytes(bytes(damaged)))
            if found is not None:
                assert all(piece.data.read(0, 32) for piece in found.pieces())


def test_a_truncated_file_gives_what_there_is(monkeypatch):
    monkeypatch.setattr(module, "PIECE_PACKETS", 100)
    data = sound_file(SOUND, "mp4-faststart")
    windows, episode = read(data[: len(data) // 2])
    assert 8 < sum(window.duration_s for window in windows) < 12
    assert any("truncated" in warning for warning in episode.warnings())
