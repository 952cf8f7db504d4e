import numpy as np
import pytest
import torch
import whisper

from preprocessing.clip import CLIP_S, N_FRAMES, N_SAMPLES, Clip, ClipDecoder
from preprocessing.container import Limits, opened
from preprocessing.decoding import decode_whole
from preprocessing.errors import CorruptAudioError, LimitExceededError
from preprocessing.windows import Episode
from support.audio import FORMATS, encode, tone, wav
from support.cases import case
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
    assert "scan takes longer audio" in str(error)


LOSSY = [("m4a", 44_100), ("adts", 44_100), ("adts", 16_000), ("adts", 8_000), ("opus", 48_000), ("webm", 48_000)]


@pytest.mark.parametrize(("name", "wanted_hz"), [*LOSSY, ("mp3", 44_100), ("mp3", 16_000)])
def test_thirty_seconds_in_a_lossy_codec_are_thirty_seconds(decoder, name, wanted_hz):
    (clip,) = decode(decoder, encode(tone(30.0), name, wanted_hz=wanted_hz))
    assert clip.duration_s == pytest.approx(30.0, abs=1e-3)
    assert np.abs(clip.waveform[-1600:]).max() > 0.4  # to the end
    assert clip.warnings == ()


def test_one_bad_clip_fails_alone_wherever_the_fault_is_found(decoder):
    good = [wav(tone(0.1 * n + 0.1, 200 + 50 * n)) for n in range(12)]
    flac = encode(tone(3.0), "flac")
    bad = {2: flac[: len(flac) // 2], 5: b"", 9: b"noise", 14: wav(tone(1.0))[:9000]}
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
    data = bytearray(encode(tone(5.0), "flac", wanted_hz=16_000))
    stated = int.from_bytes(data[21:26], "big")
    data[21:26] = (stated >> 36 << 36 | 16_000).to_bytes(5, "big")
    return bytes(data)


def unstated_flac():
    """Five seconds as a pipe writes them: STREAMINFO says 0, which stands for unknown."""
    data = bytearray(encode(tone(5.0), "flac", wanted_hz=16_000))
    data[21:26] = (int.from_bytes(data[21:26], "big") >> 36 << 36).to_bytes(5, "big")
    return bytes(data)


def chained_vorbis():
    """Five seconds in two Ogg streams, one after the other."""
    return encode(tone(1.0), "vorbis", wanted_hz=16_000) + encode(tone(4.0), "vorbis", wanted_hz=16_000)


@pytest.mark.parametrize(
    "data",
    [understated_flac(), unstated_flac(), chained_vorbis()],
    ids=["a FLAC that states 1 s of its 5", "a FLAC from a pipe", "two Ogg streams in a chain"],
)
def test_all_that_a_file_holds_is_heard_whatever_its_header_states(decoder, data):
    (clip,) = decode(decoder, data)
    assert clip.duration_s == pytest.approx(5.0, abs=0.1)


def by_ffmpeg(data):
    with opened(data, LIMITS) as source:
        return decode_whole(source, LIMITS)[0]


@pytest.mark.parametrize("name", ["wav-8", "wav-16", "wav-24", "wav-float", "flac", "vorbis"])
def test_dali_decodes_16_khz_mono_to_what_ffmpeg_does(decoder, name, monkeypatch):
    monkeypatch.setattr("preprocessing.clip.decode_whole", None)  # whatever DALI does not decode fails
    noise = 0.1 * np.random.default_rng(1).standard_normal(32_000).astype(np.float32)
    data = encode(noise, name, wanted_hz=16_000)
    (clip,) = decode(decoder, data)
    assert clip.duration_s == pytest.approx(2.0)
    np.testing.assert_allclose(clip.waveform[:32_000], by_ffmpeg(data), atol=1e-5 if name == "vorbis" else 0)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("channels", [1, 2])
def test_a_clip_is_the_same_sound_as_an_episode(decoder, name, channels):
    data = encode(0.2 * np.random.default_rng(2).standard_normal(48_000).astype(np.float32), name, channels=channels)
    (clip,) = decode(decoder, data)
    (window,) = Episode(data, LIMITS).windows(30.0)
    (sent,) = decode(decoder, window.wav())  # what the ensemble gets of an episode
    np.testing.assert_array_equal(sent.waveform, clip.waveform)
    np.testing.assert_array_equal(sent.log_mel, clip.log_mel)


@pytest.mark.parametrize("channels", [1, 2])
def test_a_sample_that_is_no_number_is_silence_in_its_own_clip_alone(decoder, channels):
    voice = tone(2.0)
    voice[16_000] = np.nan
    broken, whole = decode(decoder, wav(voice, channels=channels, subtype="FLOAT"), wav(tone(2.0)))
    assert np.isfinite(broken.log_mel).all()
    assert broken.warnings == ("samples that are no numbers (NaN, infinite) were taken as silence: at 1.00 s",)
    np.testing.assert_allclose(np.delete(broken.waveform, 16_000), np.delete(whole.waveform, 16_000), atol=1e-4)
    assert whole.warnings == ()


WHOLE_CASES = {  # recordings that are taken whole and without a warning: seconds
    "ape_tail20k.mp3": 2.51,
    "dai_22m_44s.mp3": 13.58,
    "dai_44s_22m.mp3": 13.58,
    "mp3_tail_garbage.mp3": 2.51,
    "rate_change.aac": 13.58,
    "wav_7fffff00.wav": 2.496,
    "wav_arecord_80000000.wav": 2.496,
    "wav_espeak_stdout.wav": 2.496,
    "wav_ffffff00.wav": 2.496,
    "wav_size0.wav": 2.496,
}
WARNED_CASES = {  # recordings that are taken with a warning: seconds, and words of it
    "antiphase.mp3": (2.496, "opposite phase"),
    "antiphase.wav": (2.496, "opposite phase"),
    "float_one_nan.wav": (2.496, "no numbers"),
    "track2default.m4a": (2.508, "track 1 of 2 was not checked"),
    "track2default.mka": (2.503, "track 1 of 2 was not checked"),
    "wav_short_claim.wav": (0.5, "63860 bytes follow"),
}
REFUSED_CASES = {  # words of the error
    "crash_bad.mp3": "not a known audio file (looks like an HTML page)",
    "drm.m4a": "encrypted (CENC)",
    "moov_missing.m4a": "incomplete: no moov atom",
}


@pytest.mark.parametrize("name", WHOLE_CASES)
def test_recordings_as_programs_really_write_them_are_heard_whole(decoder, name):
    (clip,), episode = decode(decoder, case(name)), Episode(case(name), LIMITS)
    assert clip.duration_s == pytest.approx(WHOLE_CASES[name], abs=0.02)
    assert clip.warnings == ()
    assert sum(window.duration_s for window in episode.windows(30.0)) == pytest.approx(clip.duration_s)
    assert episode.warnings() == ()


@pytest.mark.parametrize("name", WARNED_CASES)
def test_what_of_a_recording_is_unheard_is_in_a_warning(decoder, name):
    seconds, words = WARNED_CASES[name]
    (clip,), episode = decode(decoder, case(name)), Episode(case(name), LIMITS)
    assert clip.duration_s == pytest.approx(seconds, abs=0.02)
    assert np.sqrt(np.mean(np.square(clip.waveform[: round(seconds * 16_000)]))) > 0.05
    assert len(clip.warnings) == 1
    assert words in clip.warnings[0]
    assert sum(window.duration_s for window in episode.windows(30.0)) == pytest.approx(clip.duration_s)
    assert episode.warnings() == clip.warnings


@pytest.mark.parametrize("name", REFUSED_CASES)
def test_what_cannot_be_heard_is_named(decoder, name):
    (error,) = decode(decoder, case(name))
    assert REFUSED_CASES[name] in str(error)


def test_more_clips_than_a_batch_holds_come_back_in_order(decoder):
    results = decode(decoder, *(wav(tone(0.05 * (n + 1))) for n in range(40)))
    np.testing.assert_allclose([clip.duration_s for clip in results], [0.05 * (n + 1) for n in range(40)], atol=1e-4)
