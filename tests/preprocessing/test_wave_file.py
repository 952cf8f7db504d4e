import struct

import numpy as np
import pytest

from preprocessing.decoding import check_wave_size
from preprocessing.errors import CorruptAudioError
from preprocessing.wave_file import wave_bytes, wave_sizes
from support.audio import tone, wav


def with_data_size(size: int) -> bytes:
    """A second of a tone whose data chunk claims `size` bytes."""
    data = bytearray(wav(tone(1.0)))
    struct.pack_into("<I", data, data.index(b"data") + 4, size)
    return bytes(data)


@pytest.mark.parametrize(
    "size", [0, 0x7FFFF000, 0x7FFFFF00, 0x7FFFFFFF, 0x80000000, 0xFFFFFF00, 0xFFFFFFDB, 0xFFFFFFFF], ids=hex
)
def test_a_size_that_a_pipe_left_is_a_placeholder(size):
    data = with_data_size(size)
    assert wave_sizes(data).placeholder
    check_wave_size(data)


def test_a_claim_of_more_than_follows_is_a_truncation():
    data = wav(tone(1.0))
    assert not wave_sizes(data).truncated
    assert wave_sizes(data[:10_000]).truncated
    with pytest.raises(CorruptAudioError, match="claims 32000 bytes of audio, but 9956 follow"):
        check_wave_size(data[:10_000])


def test_bytes_behind_the_stated_length_are_counted():
    assert wave_sizes(with_data_size(16_000)).undeclared_bytes == 16_000
    assert wave_sizes(wav(tone(1.0))).undeclared_bytes == 0


def test_chunks_behind_the_data_are_no_undeclared_bytes():
    chunk = struct.pack("<4sI", b"LIST", 1001) + bytes(1002)  # chunks are padded to an even size
    assert wave_sizes(wav(tone(1.0)) + chunk + chunk).undeclared_bytes == 0


def test_what_is_no_wave_has_no_sizes():
    assert wave_sizes(b"") is None
    assert wave_sizes(b"OggS" + bytes(100)) is None
    assert wave_sizes(b"RIFF\x00\x00\x00\x00WAVE") is None


def test_samples_survive_being_written():
    samples = np.random.default_rng(0).standard_normal((2, 1000)).astype(np.float32)
    data = wave_bytes(samples, 16_000)
    sizes = wave_sizes(data)
    assert (sizes.claimed_bytes, sizes.held_bytes) == (8000, 8000)
    np.testing.assert_array_equal(np.frombuffer(data[-8000:], "<f4").reshape(-1, 2).T, samples)
