"""The Whisper recipe: texts, channels, windows with their targets, and the short cut through the encoder."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
import whisper
from whisper.model import ModelDimensions, Whisper

from training.whisper import channel, speak, text
from training.whisper.model import encode, untrained
from training.whisper.sounds import KINDS, sound
from training.whisper.windows import EOT, LATEST_START, NO_SPEECH, SOT, T0, TOKENIZER, Corpus, WindowMaker, warp

SENTENCES = ["The dog ran home.", "Where is Anna?", "I'm going to hurt you.", "Stop!"]


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    """Four utterances of random features, each word 200 ms long, in the format that speak.py writes."""
    rng, out = np.random.default_rng(1), tmp_path / "shard"
    offsets, word_offsets, words, phones, mels = [0], [0], [], [], []
    for sentence in SENTENCES:
        count = len(sentence.split())
        frames = 20 * count
        mels.append(rng.uniform(-6, 1, (frames, 80)).astype(np.float16))
        offsets.append(offsets[-1] + frames)
        words += [(0.2 * i, 0.2 * (i + 1)) for i in range(count)]
        word_offsets.append(len(words))
        phones.append(np.ones(frames // 2, np.uint8))
    np.concatenate(mels).tofile(out.with_suffix(".mel"))
    np.savez(
        out.with_suffix(".npz"),
        offsets=np.array(offsets),
        phones=np.concatenate(phones),
        words=np.array(words, np.float32),
        word_offsets=np.array(word_offsets),
    )
    meta = {"texts": SENTENCES, "voices": ["espeak/en-us"] * len(SENTENCES), "phones": {"a": 1}}
    out.with_suffix(".json").write_text(json.dumps(meta))
    return out


@pytest.fixture
def maker(shard: Path, tmp_path: Path) -> WindowMaker:
    mel = speak.log_mel(sound(8.0, np.random.default_rng(3), "rain")[1])
    np.savez(tmp_path / "sounds.npz", mel=mel, offsets=np.array([0, len(mel)]))
    return WindowMaker(Corpus([shard], {"a": 1}), tmp_path / "sounds", seed=5)


def test_sentences_are_written_with_a_capital_and_a_full_stop():
    assert text.written("a well-known  fact,") == "A well known fact."
    assert text.written("Is it?") == "Is it?"
    assert text.cased("i'm sure that i saw it") == "I'm sure that I saw it"


def test_grammar_sentences_are_plain_words_with_punctuation():
    grammar, rng = text.Grammar(), random.Random(2)
    for _ in range(300):
        sentence = text.written(grammar.sentence(rng))
        assert sentence[0].isupper()
        assert sentence[-1] in ".?!"
        assert all(len(text.plain(word)) == 1 for word in sentence.split()), sentence


def test_sexual_words_never_meet_words_for_young_people():
    assert text.acceptable("the naked truth about the film")
    assert not text.acceptable("the naked boy")
    assert not any(w & text._SEXUAL and w & text._UNWANTED for w in (set(text.plain(t)) for t in text.safety_lines()))


def test_held_out_voices_are_not_among_the_trained_ones():
    trained = set(speak.VARIANTS) | set(speak.NAMED_VARIANTS)
    assert not trained & set(speak.HELD_OUT_VARIANTS)
    assert not {v.rstrip("23") for v in trained} & {v.rstrip("23") for v in speak.HELD_OUT_VARIANTS}


@pytest.mark.parametrize(("container", "encoder", "rates"), channel.CODECS)
def test_codecs_keep_speech_in_its_place(container: str, encoder: str, rates: tuple[int, ...]):
    rng = np.random.default_rng(4)
    clicks = np.zeros(32_000, np.float32)
    clicks[[5000, 12_000, 25_000]] = 0.7
    shaped = np.convolve(clicks, rng.standard_normal(800) * np.exp(-np.arange(800) / 150), "same") / 3
    decoded = channel.through_codec(shaped.astype(np.float32), container, encoder, rates[-1])
    assert decoded.shape == shaped.shape
    for place in (5000, 12_000, 25_000):
        window = slice(place - 1500, place + 1500)
        lag = np.argmax(np.abs(np.correlate(decoded[window], shaped[window], "full"))) - 2999
        assert abs(lag) < 160, f"{encoder} moved a sound by {lag / 16:.0f} ms"


def test_a_telephone_carries_no_treble():
    t = np.arange(16_000) / 16_000
    for hertz, passes in ((1000, True), (6000, False)):
        heard = channel.telephone((0.5 * np.sin(2 * np.pi * hertz * t)).astype(np.float32))
        assert bool(heard.std() > 0.2) is passes


def test_every_kind_of_sound_is_finite_and_has_the_length_asked_for():
    for kind in KINDS:
        _, samples = sound(2.5, np.random.default_rng(6), kind.__name__)
        assert samples.shape == (40_000,)
        assert np.isfinite(samples).all()
        assert np.abs(samples).max() <= 1


def test_speech_windows_teach_text_between_timestamps(maker: WindowMaker):
    for _ in range(50):
        row = maker.speech(600, 3)
        assert row is not None
        assert row.inputs[0] == SOT
        assert row.targets == [*row.inputs[1:], EOT]
        times = [t - T0 for t in row.inputs if t >= T0]
        assert times == sorted(times)
        assert times[0] <= LATEST_START
        assert times[-1] <= row.content // 2 + 1
        written = TOKENIZER.decode([t for t in row.inputs[1:] if t < EOT])
        assert any(sentence in written for sentence in SENTENCES)


def test_windows_without_speech_teach_no_speech_and_no_text(maker: WindowMaker):
    for _ in range(20):
        row = maker.no_speech(600)
        assert row.targets == [NO_SPEECH, EOT]
        assert all(t >= T0 for t in row.inputs[1:])


def test_warping_moves_a_band_up_or_leaves_it():
    band = np.zeros(80, np.float32)
    band[40] = 1.0
    assert np.allclose(warp(1.0), np.eye(80), atol=1e-5)
    assert (band @ warp(1.12)).argmax() > 40 > (band @ warp(0.9)).argmax()


def test_the_short_cut_hears_what_the_whole_encoder_hears():
    torch.manual_seed(0)
    dims = ModelDimensions(80, 1500, 64, 2, 2, 51864, 448, 64, 2, 1)
    model = Whisper(dims).eval()
    speech = torch.from_numpy(np.random.default_rng(7).standard_normal(16_000 * 4).astype(np.float32)) * 0.1
    mel = whisper.log_mel_spectrogram(whisper.pad_or_trim(speech))[None]
    with torch.inference_mode():
        whole = model.encoder(mel)[:, :195]
        short, bias = encode(model, mel[..., :400], mel[:, 0, -1])
    assert short.shape[1] == bias.shape[-1] < 250
    assert (short[:, :195] - whole).norm() / whole.norm() < 0.02


def test_training_can_begin_from_nothing():
    model = untrained()
    assert all(bool(p.isfinite().all()) for p in model.parameters())
    assert model.decoder.token_embedding.weight.std() < 0.03  # it is the output layer, too
