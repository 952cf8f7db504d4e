import numpy as np
import pytest
import torch
import whisper

from preprocessing.clip import CLIP_S, N_FRAMES, N_SAMPLES, Clip, ClipDecoder
from preprocessing.container import Limits
from preprocessing.errors import CorruptAudioError, LimitExceededError
from support.audio import FORMATS, encode, tone, wav
from support.speech import speak

LIMITS = Limits(max_bytes=2**26, max_duration_s=CLIP_S, max_channels=8, max_sample_rate_hz=192_000)


@pytest.fixture(scope="module")
def decoder():
    return ClipDecoder(n_mels=80, limits=LIMITS, max_batch_size=16, threads=2)


def decode(decoder, *clips):
    return decoder.decode([np.frombuffer(clip, np.uint8) for clip in clips])


@pytest.mark.parametrize("n_mels", [80, 128])
def test_the_log_mel_is_openai_whispers(n_mels):
    decoder = ClipDecoder(n_mels=n_mels, limits=LIMITS, max_batch_size=4, threads=2)
    noise = 0.1 * np.random.default_rng(0).standard_normal(N_SAMPLES).astype(np.float32)
    lengths = [1, 159, 160, 7 * 16_000, N_SAMPLES - 401, N_SAMPLES - 400, N_SAMPLES - 201, N_SAMPLES]
    signals = [speak("The quick brown fox jumps over the lazy dog."), *(noise[:length] for length in lengths)]
    for signal, clip in zip(signals, decode(decoder, *(wav(s, subtype="FLOAT") for s in signals)), strict=True):
        expected = whisper.log_mel_spectrogram(whisper.pad_or_trim(torch.from_numpy(signal)), n_mels)
        np.testing.assert_allclose(clip.log_mel, expected.numpy(), atol=1e-4)


def test_digital_silence_has_whispers_log_mel_too(decoder):
    (clip,) = decode(decoder, wav(np.zeros(16_000, np.float32)))
    expected = whisper.log_mel_spectrogram(torch.zeros(N_SAMPLES), 80)
    np.testing.assert_allclose(clip.log_mel, expected.numpy(), atol=1e-5)


@pytest.mark.parametrize("name", FORMATS)
def test_every_container_gives_the_same_sound(decoder, name):
    (clip,) = decode(decoder, encode(tone(2.0), name))
    assert clip.duration_s == pytest.approx(2.0, abs=0.1)
    assert clip.waveform.shape == (N_SAMPLES,)
    assert clip.log_mel.shape == (80, N_FRAMES)
    spectrum = np.abs(np.fft.rfft(clip.waveform[8_000:24_000]))
    assert np.argmax(spectrum) == pytest.approx(440, abs=2)
    assert np.abs(clip.waveform[8_000:24_000]).max() == pytest.approx(0.5, abs=0.1)
    assert not clip.waveform[int(2.2 * 16_000) :].any()


def test_speech_is_found_in_the_sound_alone_not_in_its_padding(decoder):
    samples = np.concatenate([tone(2.0), speak("The quick brown fox jumps over the lazy dog.")])
    (clip,) = decode(decoder, wav(samples))
    (span,) = clip.speech
    assert span.start_s == pytest.approx(2.0, abs=0.2)
    assert span.end_s == pytest.approx(len(samples) / 16_000, abs=0.3)
    assert span.end_s <= clip.duration_s


def test_a_clip_alone_and_among_fifteen_others_is_byte_identical(decoder):
    sentence = speak("The quick brown fox jumps over the lazy dog.")
    clips = [wav(np.concatenate([sentence[i * 900 :], tone(i * 1.7 + 0.1)])) for i in range(16)]
    for together, clip in zip(decode(decoder, *clips), clips, strict=True):
        (alone,) = decode(decoder, clip)
        assert alone.speech
        assert together.speech == alone.speech
        assert together.log_mel.tobytes() == alone.log_mel.tobytes()


@pytest.mark.parametrize(("rate_hz", "channels"), [(8_000, 1), (96_000, 2), (48_000, 8), (44_100, 2)])
def test_rates_and_channels_become_16_khz_mono(decoder, rate_hz, channels):
    (clip,) = decode(decoder, wav(tone(1.0, rate_hz=rate_hz), rate_hz=rate_hz, channels=channels))
    assert clip.duration_s == pytest.approx(1.0, abs=1e-3)
    assert np.argmax(np.abs(np.fft.rfft(clip.waveform[:16_000]))) == pytest.approx(440, abs=1)


@pytest.mark.parametrize("seconds", [0.001, 1.0, 29.99, 30.0])
def test_durations_up_to_the_limit_are_told_exactly(decoder, seconds):
    (clip,) = decode(decoder, wav(tone(seconds)))
    assert clip.duration_s == pytest.approx(seconds, abs=1e-4)


@pytest.mark.parametrize("name", ["wav-16", "flac", "opus", "mp3", "m4a", "adts"])
def test_longer_clips_are_refused_and_told_where_to_go(decoder, name):
    (error,) = decode(decoder, encode(tone(30.2), name))
    assert isinstance(error, LimitExceededError)
    assert "exceed the limit of 30 s" in str(error)
    assert "episode_safety" in str(error)


def test_one_bad_clip_fails_alone_wherever_the_fault_is_found(decoder):
    good = [wav(tone(0.1 * n + 0.1, 200 + 50 * n)) for n in range(12)]
    flac = encode(tone(3.0), "flac")
    bad = {2: flac[: len(flac) // 2], 5: b"", 9: b"noise", 14: wav(tone(1.0))[:9000]}  # 2: only DALI can see the fault
    clips = iter(good)
    mixed = [bad[i] if i in bad else next(clips) for i in range(16)]
    results = decode(decoder, *mixed)
    assert {i for i, result in enumerate(results) if not isinstance(result, Clip)} == set(bad)
    assert isinstance(results[2], CorruptAudioError)
    alone = [decode(decoder, clip)[0] for clip in good]
    for clip, again in zip([r for r in results if isinstance(r, Clip)], alone, strict=True):
        np.testing.assert_array_equal(clip.log_mel, again.log_mel)
        assert clip.duration_s == again.duration_s


def understated_flac():
    """Five seconds whose STREAMINFO (the 36 low bits at byte 21 of the file) says one."""
    data = bytearray(encode(tone(5.0), "flac"))
    stated = int.from_bytes(data[21:26], "big")
    data[21:26] = (stated >> 36 << 36 | 44_100).to_bytes(5, "big")
    return bytes(data)


def unstated_flac():
    """Five seconds as a pipe writes them: STREAMINFO says 0, which stands for unknown."""
    data = bytearray(encode(tone(5.0), "flac"))
    data[21:26] = (int.from_bytes(data[21:26], "big") >> 36 << 36).to_bytes(5, "big")
    return bytes(data)


@pytest.mark.parametrize(
    "data",
    [understated_flac(), unstated_flac(), encode(tone(1.0), "vorbis") + encode(tone(4.0), "vorbis")],
    ids=["a FLAC that states 1 s of its 5", "a FLAC from a pipe", "two Ogg streams in a chain"],
)
def test_all_that_a_file_holds_is_heard_whatever_its_header_states(decoder, data):
    (clip,) = decode(decoder, data)
    assert not isinstance(clip, Clip) or clip.duration_s == pytest.approx(5.0, abs=0.1)


def test_more_clips_than_a_batch_holds_come_back_in_order(decoder):
    results = decode(decoder, *(wav(tone(0.05 * (n + 1))) for n in range(40)))
    np.testing.assert_allclose([clip.duration_s for clip in results], [0.05 * (n + 1) for n in range(40)], atol=1e-4)
