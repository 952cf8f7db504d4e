"""What a file says of itself."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import pytest

from benchmarks.sound_files import sound_file
from preprocessing.container import Limits, probe
from preprocessing.tags import MAX_CHAPTERS, MAX_TEXT, Chapter, Tags
from support.audio import silence

LIMITS = Limits(max_bytes=2**28, max_duration_s=3600, max_channels=8, max_sample_rate_hz=192_000)
TAGS = {"title": "Night Train", "artist": "A. Reader", "album": "Evenings"}


def with_chapters(titles: list[str], length: int = 1_000) -> bytes:
    """An M4B of silence whose chapters are `length` ms each."""
    source = av.open(io.BytesIO(sound_file(silence(1.0), "m4a")))
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="ipod") as container:
        stream = container.add_stream_from_template(source.streams.audio[0])
        container.set_chapters(
            [
                {
                    "id": at,
                    "start": at * length,
                    "end": (at + 1) * length,
                    "time_base": Fraction(1, 1000),
                    "metadata": {"title": title},
                }
                for at, title in enumerate(titles)
            ]
        )
        for packet in source.demux(source.streams.audio[0]):
            if packet.dts is not None:
                packet.stream = stream
                container.mux(packet)
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["m4a", "mp3", "flac", "ogg-flac"])
def test_title_artist_and_album_are_read(name):
    tags = probe(sound_file(silence(1.0), name, TAGS), LIMITS).tags
    assert (tags.title, tags.artist, tags.album) == tuple(TAGS.values())


def test_a_file_that_says_nothing_has_no_tags():
    assert probe(sound_file(silence(1.0), "au"), LIMITS).tags == Tags()


def test_chapters_have_their_times_and_titles():
    found = probe(with_chapters(["One", "Two"]), LIMITS).tags.chapters
    assert found == (Chapter(0.0, 1.0, "One"), Chapter(1.0, 2.0, "Two"))


def test_the_callers_text_is_bounded():
    data = sound_file(silence(1.0), "flac", {"title": "a\n" + "b" * 10_000 + "\x1b[31m"})
    title = probe(data, LIMITS).tags.title
    assert len(title) == MAX_TEXT
    assert title.isprintable()


def test_the_number_of_chapters_is_bounded():
    assert len(probe(with_chapters(["x"] * (MAX_CHAPTERS + 5), length=10), LIMITS).tags.chapters) == MAX_CHAPTERS
