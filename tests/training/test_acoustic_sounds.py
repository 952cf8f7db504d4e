"""The synthesised sounds and scenes: well-formed, reproducible, varied, and placed where their labels say."""

from __future__ import annotations

import numpy as np
import pytest

from aircheck.inference.acoustic_safety.events import EVENTS, SAFETY_EVENTS
from aircheck.inference.acoustic_safety.network import FRAME_S
from training.acoustic_safety import held_out
from training.acoustic_safety.channel import CODECS, Chain, codec_round_trip, record
from training.acoustic_safety.scenes import Pool, SceneOptions, TrueSpan, audible_spans, joined, make_scene
from training.acoustic_safety.sounds import EVENTS as EVENT_SOUNDS
from training.acoustic_safety.sounds import HARD_NEGATIVES, SAMPLE_RATE, SOUNDS, explosion, gunshot
from training.espeak import SpeechError, Voice, say


@pytest.mark.parametrize("name", sorted(SOUNDS))
def test_a_sound_is_mono_fp32_at_half_scale_and_follows_its_seed(name: str) -> None:
    make = SOUNDS[name]
    sound, again, other = (make(np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert sound.dtype == np.float32
    assert sound.ndim == 1
    assert np.isfinite(sound).all()
    assert np.abs(sound).max() == pytest.approx(0.5, abs=1e-3)
    assert np.array_equal(sound, again)
    assert not np.array_equal(sound[: len(other)], other[: len(sound)])


def test_every_safety_event_can_be_synthesised_and_has_a_held_out_kind() -> None:
    assert set(SAFETY_EVENTS) == set(EVENT_SOUNDS) == set(held_out.EVENTS)


@pytest.mark.parametrize("name", sorted(held_out.EVENTS))
def test_a_held_out_kind_is_another_sound_at_half_scale(name: str) -> None:
    sound = held_out.EVENTS[name](np.random.default_rng(3))
    known = SOUNDS[name](np.random.default_rng(3))
    assert np.isfinite(sound).all()
    assert np.abs(sound).max() == pytest.approx(0.5, abs=1e-3)
    assert len(sound) != len(known) or not np.allclose(sound, known)


def test_the_hard_negatives_cover_what_is_mistaken_for_events() -> None:
    wanted = {"fireworks", "door_slam", "hand_clap", "dog_bark", "laughter", "typing", "rain", "cheering", "engine"}
    assert wanted <= set(HARD_NEGATIVES)
    assert "drums" in SOUNDS
    assert not set(HARD_NEGATIVES) & set(EVENT_SOUNDS)


def low_share(sound: np.ndarray) -> float:
    """Of its energy below 150 Hz."""
    power = np.abs(np.fft.rfft(sound)) ** 2
    return float(power[np.fft.rfftfreq(len(sound), 1 / SAMPLE_RATE) < 150].sum() / power.sum())


def test_a_blast_is_low_and_a_shot_is_not() -> None:
    shots = [low_share(gunshot(np.random.default_rng(seed))) for seed in range(30)]
    blasts = [low_share(explosion(np.random.default_rng(seed))) for seed in range(30)]
    assert np.median(shots) < 0.5 < np.quantile(blasts, 0.1)
    assert np.quantile(shots, 0.9) < np.quantile(blasts, 0.1)


def test_a_gunshot_is_loudest_at_its_onset() -> None:
    for seed in range(20):
        shot = gunshot(np.random.default_rng(seed))
        assert np.abs(shot[: SAMPLE_RATE // 4]).max() > 0.5 * np.abs(shot).max()


def test_an_unknown_voice_is_an_error_that_names_it() -> None:
    with pytest.raises(SpeechError, match="klingon-opera"):
        say("hello", Voice(language="klingon-opera"))


def test_faster_speech_of_the_same_words_is_shorter() -> None:
    slow, fast = (say("one two three four five six", Voice(words_per_minute=rate)) for rate in (120, 240))
    assert len(fast) < 0.8 * len(slow)


@pytest.mark.parametrize(("container", "encoder"), [*CODECS, *held_out.CODECS])
def test_a_codec_round_trip_keeps_length_and_place(container: str, encoder: str) -> None:
    tone = np.zeros(3 * SAMPLE_RATE)
    tone[SAMPLE_RATE : 2 * SAMPLE_RATE] = 0.5 * np.sin(2 * np.pi * 440 * np.arange(SAMPLE_RATE) / SAMPLE_RATE)
    coded = codec_round_trip(tone, container, encoder, 48_000)
    assert len(coded) == len(tone)
    assert not np.array_equal(coded, tone)
    loud = np.flatnonzero(np.abs(coded) > 0.2) / SAMPLE_RATE
    assert loud[0] == pytest.approx(1.0, abs=0.1)
    assert loud[-1] == pytest.approx(2.0, abs=0.1)


def test_a_recording_never_clips_beyond_full_scale_by_more_than_a_codec_does() -> None:
    rng = np.random.default_rng(0)
    for _ in range(30):
        recorded = record(rng, rng.standard_normal(SAMPLE_RATE))
        assert recorded.dtype == np.float32
        assert np.isfinite(recorded).all()
        assert np.abs(recorded).max() < 1.5


def test_band_limits_treat_the_parts_of_a_mixture_as_the_mixture() -> None:
    rng = np.random.default_rng(2)
    one, other = rng.standard_normal((2, SAMPLE_RATE))
    for chain in (Chain.draw(rng) for _ in range(20)):
        assert np.allclose(chain.filtered(one + other), chain.filtered(one) + chain.filtered(other), atol=1e-9)


@pytest.mark.parametrize("level_db", [-6.0, 0.0, 12.0])
def test_a_span_tells_its_level_against_all_else(level_db: float) -> None:
    rng = np.random.default_rng(1)
    rest = rng.standard_normal(4 * SAMPLE_RATE)
    sound = np.zeros_like(rest)
    sound[SAMPLE_RATE : 2 * SAMPLE_RATE] = 10 ** (level_db / 20) * rng.standard_normal(SAMPLE_RATE)
    (span,) = audible_spans("siren", sound, rest)
    assert span.snr_db == pytest.approx(level_db, abs=0.5)
    (masked,) = audible_spans("siren", sound, 0.1 * rest, floor_power=1.0)
    assert masked.snr_db == pytest.approx(level_db, abs=0.5)


def test_neighbouring_spans_of_one_event_are_one_as_loud_as_the_louder() -> None:
    truth = (
        TrueSpan("gunshot", 3.0, 3.4, 2.0),
        TrueSpan("siren", 1.0, 2.0, 9.0),
        TrueSpan("gunshot", 1.0, 2.2, 7.0),
        TrueSpan("gunshot", 5.0, 5.2, 1.0),
    )
    assert joined(truth, "gunshot", 1.0) == [TrueSpan("gunshot", 1.0, 3.4, 7.0), TrueSpan("gunshot", 5.0, 5.2, 1.0)]


def test_a_masked_sound_has_no_span_and_a_loud_one_lies_where_it_was_put() -> None:
    rng = np.random.default_rng(1)
    rest = 0.1 * rng.standard_normal(4 * SAMPLE_RATE)
    sound = np.zeros_like(rest)
    sound[SAMPLE_RATE : 2 * SAMPLE_RATE] = rng.standard_normal(SAMPLE_RATE)
    assert audible_spans("siren", 0.001 * sound, rest) == []
    (span,) = audible_spans("siren", sound, rest)
    assert span.start_s == pytest.approx(1.0, abs=FRAME_S)
    assert span.end_s == pytest.approx(2.0, abs=FRAME_S)


def test_scenes_repeat_with_their_seed_and_label_what_they_contain() -> None:
    options = SceneOptions(
        duration_s=5.12, event_odds=1.0, backgrounds=(("noise", 1.0),), cut_odds=0.0, hard_negative_odds=0
    )
    scene, again = (make_scene(np.random.default_rng(5), Pool(), options) for _ in range(2))
    assert np.array_equal(scene.waveform, again.waveform)
    assert scene.truth == again.truth
    assert {span.name for span in scene.truth} <= set(SAFETY_EVENTS)
    targets = scene.targets(64)
    for span in scene.truth:
        middle = int((span.start_s + span.end_s) / 2 / FRAME_S)
        assert targets[middle, EVENTS.index(span.name)] == 1
    assert targets.sum() > 0
