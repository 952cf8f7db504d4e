"""A recording's format by name."""

from __future__ import annotations

import pytest

from aircheck.gateway.decoding.formats import HEAD_BYTES, UNKNOWN, format_name
from support.audio import encode, tone, wav


@pytest.mark.parametrize("name", ["mp3", "flac", "adts", "vorbis", "m4a"])
def test_the_first_bytes_tell_the_format(name):
    expected = {"adts": "aac", "m4a": "mov", "vorbis": "ogg"}.get(name, name)
    assert format_name("", encode(tone(0.5), name)[:HEAD_BYTES]) == expected
    assert format_name("", wav(tone(0.1))[:HEAD_BYTES]) == "wav"


def test_what_a_decoder_says_is_believed_only_where_it_is_a_format():
    assert format_name("flac", b"OggS") == "flac"
    assert format_name("a" * 100, b"OggS") == UNKNOWN
    assert format_name("", b"") == UNKNOWN
