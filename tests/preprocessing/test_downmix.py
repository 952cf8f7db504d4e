import numpy as np
import pytest
from av.audio.layout import AudioLayout

from preprocessing.downmix import Downmix, Stretches, weights
from support.audio import silence, tone

RNG = np.random.default_rng(3)


def mixed(channels, layout="stereo", block=1000):
    """fp32 [channels, samples] to mono samples and the two reports, in blocks."""
    cancelled, unusable = Stretches(), Stretches()
    downmix = Downmix(AudioLayout(layout), 16_000, 0, cancelled, unusable)
    samples = np.stack(channels)
    parts = [downmix.push(samples[:, at : at + block]) for at in range(0, samples.shape[1], block)]
    return np.concatenate([*parts, downmix.flush()]), cancelled, unusable


def level(samples):
    return float(np.sqrt(np.mean(np.square(samples))))


def test_a_voice_on_both_channels_keeps_its_level():
    voice = tone(1.0)
    heard, cancelled, _ = mixed([voice, voice])
    np.testing.assert_allclose(heard, voice, atol=1e-6)
    assert cancelled.total_s == 0


@pytest.mark.parametrize("layout", ["5.1", "5.1(side)", "7.1", "5.0"])
def test_dialogue_on_the_centre_channel_keeps_its_level(layout):
    names = [channel.name for channel in AudioLayout(layout).channels]
    voice = tone(1.0)
    heard, _, _ = mixed([voice if name == "FC" else silence(1.0) for name in names], layout)
    assert level(heard) == pytest.approx(level(voice), rel=0.01)


@pytest.mark.parametrize("layout", ["2.1", "quad", "5.1", "7.1", "3 channels", "6 channels", "8 channels"])
def test_no_channel_goes_unheard(layout):
    count = AudioLayout(layout).nb_channels
    for place in range(count):
        heard, _, _ = mixed([tone(0.5) if place == channel else silence(0.5) for channel in range(count)], layout)
        assert level(heard) >= 0.49 * level(tone(0.5))


def test_a_file_that_names_no_layout_has_the_usual_one():
    np.testing.assert_array_equal(weights(AudioLayout("6 channels")), weights(AudioLayout("5.1")))


def test_opposite_channels_are_heard_and_reported():
    voice = tone(2.0)
    heard, cancelled, _ = mixed([voice, -voice])
    assert level(heard) == pytest.approx(level(voice), rel=0.02)
    assert cancelled.total_s == pytest.approx(2.0)


def test_opposite_channels_of_different_levels_are_heard():
    voice = tone(2.0)
    heard, cancelled, _ = mixed([0.7 * voice, -voice])
    assert level(heard) == pytest.approx(level(voice), rel=0.02)
    assert cancelled.total_s == pytest.approx(2.0)


def test_words_in_opposite_phase_are_heard_over_bass_in_phase():
    words, bass = tone(2.0, 1000.0), tone(2.0, 60.0)
    heard, cancelled, _ = mixed([bass + 0.5 * words, bass - 0.5 * words])
    spectrum = np.abs(np.fft.rfft(heard[8_000:24_000]))  # one second: a bin a hertz
    assert spectrum[1000] > 0.3 * spectrum[60]
    assert cancelled.total_s > 1.9


def test_only_the_stretch_in_opposite_phase_is_replaced():
    voice = tone(4.0)
    right = voice.copy()
    right[16_000:32_000] *= -1
    heard, cancelled, _ = mixed([voice, right])
    assert level(heard[16_000:32_000]) == pytest.approx(level(voice), rel=0.02)
    assert cancelled.first_s == pytest.approx(1.0)
    assert cancelled.last_s == pytest.approx(2.25)  # the stretch in which it fades back
    assert np.abs(np.diff(heard)).max() < 0.12  # no click: the tone itself steps by 0.086


@pytest.mark.parametrize("right", [0.0, 0.5, "unrelated"])
def test_ordinary_stereo_is_mixed_without_a_warning(right):
    left = RNG.standard_normal(64_000).astype(np.float32)
    other = RNG.standard_normal(64_000).astype(np.float32) if right == "unrelated" else right * left
    heard, cancelled, _ = mixed([left, other])
    np.testing.assert_allclose(heard, (left + other) / 2, atol=1e-5)
    assert cancelled.total_s == 0


@pytest.mark.parametrize("block", [160, 4_000, 7_001, 64_000])
def test_the_size_of_blocks_changes_nothing(block):
    left = RNG.standard_normal(50_000).astype(np.float32)
    right = -left * (np.arange(50_000) > 20_000)
    once, several = mixed([left, right], block=50_000), mixed([left, right], block=block)
    np.testing.assert_array_equal(several[0], once[0])
    assert several[1] == once[1]


@pytest.mark.parametrize("fault", [np.nan, np.inf, -np.inf, 1e30])
@pytest.mark.parametrize("channels", [1, 2])
def test_samples_that_are_no_numbers_are_silence_and_reported(fault, channels):
    voice = tone(2.0)
    broken = voice.copy()
    broken[16_000:16_010] = fault
    heard, _, unusable = mixed([broken] * channels, "mono" if channels == 1 else "stereo")
    assert np.isfinite(heard).all()
    assert not heard[16_000:16_010].any()
    np.testing.assert_allclose(np.delete(heard, slice(16_000, 16_010)), np.delete(voice, slice(16_000, 16_010)))
    assert unusable.first_s == pytest.approx(1.0)
    assert unusable.total_s == pytest.approx(10 / 16_000)
