"""Our decoding against openai-whisper's own, token for token."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
import whisper
from torch import Tensor
from whisper.model import Whisper

from aircheck.inference.whisper.decoding.encoder import WindowEncoder
from aircheck.inference.whisper.decoding.options import DecodedWindow, DecodingOptions, UnsupportedLanguageError
from aircheck.inference.whisper.engine import WhisperEngine
from aircheck.inference.whisper.scheduling.model_runner import ModelRunner
from aircheck.inference.whisper.scheduling.sequence import Window
from aircheck.inference.whisper.weights.checkpoint import LoadedWhisper
from benchmarks.wer.recordings import LIMITS
from preprocessing.windows import Episode
from support.whisper_models import decoded, log_mel, scheduler, tiny_whisper

CLIPS = sorted((Path(__file__).parents[3] / "samples" / "quality" / "audio").glob("*.opus"))


def reference(model: Whisper, log_mels: Tensor, **options: object) -> list[whisper.DecodingResult]:
    return whisper.decode(model, log_mels, whisper.DecodingOptions(temperature=0, fp16=False, **options))


def assert_same(ours: DecodedWindow, theirs: whisper.DecodingResult) -> None:
    assert list(ours.tokens) == theirs.tokens
    assert ours.language == theirs.language
    assert ours.avg_logprob == pytest.approx(theirs.avg_logprob, abs=1e-4)
    assert ours.no_speech_prob == pytest.approx(theirs.no_speech_prob, abs=1e-5)


def noises(count: int) -> list[np.ndarray]:
    """Windows of 2 to 6 s without speech: white and low noise, hum, digital silence, in turn."""
    rng = np.random.default_rng(7)
    made = []
    for index in range(count):
        n = int(rng.uniform(2, 6) * 16_000)
        white = rng.normal(0, 0.1, n)
        hum = np.sin(np.arange(n) * 2 * np.pi * 50 / 16_000) / 4
        made.append([white, np.cumsum(white) / 50, hum, np.zeros(n)][index % 4].astype(np.float32))
    return made


def clips(first: int, count: int) -> list[np.ndarray]:
    """Committed clips of speech, music and sounds, every other one cut off somewhere."""
    rng = np.random.default_rng(4)
    episodes = [Episode(path.read_bytes(), LIMITS) for path in CLIPS[first : first + count]]
    found = [window.samples for episode in episodes for window in episode.windows(30.0)]
    return [clip[: rng.integers(len(clip) // 4, len(clip))] if at % 2 else clip for at, clip in enumerate(found)]


@torch.inference_mode()
def test_tokens_are_openai_whispers_on_real_weights(base: LoadedWhisper) -> None:
    windows = torch.stack([log_mel(samples) for samples in (*clips(0, 4), *noises(2))])
    features = base.model.encoder(windows)
    expected = reference(base.model, features)
    assert len({len(result.tokens) for result in expected}) > 2, "windows must end at different steps"
    with WhisperEngine(base, DecodingOptions(temperatures=(0.0,), seek=False), n_slots=5, threads=2) as engine:
        found = engine.decode([Window(window, 30.0) for window in windows])
    for (window,), result in zip(found, expected, strict=True):
        assert_same(window.decoded, result)


@torch.inference_mode()
def test_tokens_are_openai_whispers_on_40_windows_in_any_order_and_mixture(small: LoadedWhisper) -> None:
    windows = torch.stack([log_mel(samples) for samples in (*clips(0, 30), *noises(10))])
    expected = [result for batch in windows.split(20) for result in reference(small.model, batch, language="en")]
    lengths = [len(result.tokens) for result in expected]
    assert len(lengths) >= 40
    assert len(set(lengths)) > 5, "windows must end at different steps for this test to mean anything"
    order = np.random.default_rng(1).permutation(len(expected))
    options = DecodingOptions(language="en", temperatures=(0.0,), seek=False)
    with WhisperEngine(small, options, n_slots=7, threads=2) as engine:
        found = engine.decode([Window(windows[row], 30.0) for row in order])
    for row, (window,) in zip(order, found, strict=True):
        assert_same(window.decoded, expected[row])


@torch.inference_mode()
@pytest.mark.parametrize("language", [None, "de"])
def test_multilingual_tokens_are_openai_whispers(
    multilingual: Whisper, sounds: list[np.ndarray], language: str | None
) -> None:
    log_mels = torch.stack([log_mel(sound, multilingual.dims.n_mels) for sound in sounds])
    expected = reference(multilingual, log_mels, language=language)
    for window, result in zip(decoded(multilingual, log_mels, 3, language=language), expected, strict=True):
        assert_same(window, result)
    if language is None:
        assert {result.language for result in expected} != {"en"}


@torch.inference_mode()
def test_a_limit_on_tokens_is_openai_whispers_sample_len(small: LoadedWhisper, windows: Tensor) -> None:
    expected = reference(small.model, windows[:3], sample_len=7)
    for window, result in zip(decoded(small.model, windows[:3], max_tokens=7), expected, strict=True):
        assert_same(window, result)
    limits = [3, None, 5]
    lines = [Window(log_mel, 30.0, max_tokens=limit) for log_mel, limit in zip(windows, limits, strict=False)]
    lengths = [len(window.tokens) for window in scheduler(small.model).decode(lines)]
    assert lengths == [3, len(reference(small.model, windows[1:2])[0].tokens), 5]


@torch.inference_mode()
def test_the_encoder_gives_openai_whispers_features(multilingual: Whisper, sounds: list[np.ndarray]) -> None:
    log_mels = torch.stack([log_mel(sound, multilingual.dims.n_mels) for sound in sounds[:3]])
    expected = multilingual.encoder(log_mels)
    ours = WindowEncoder(copy.deepcopy(multilingual).encoder).encode(log_mels)
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)


def test_a_language_the_model_lacks_is_refused() -> None:
    with pytest.raises(UnsupportedLanguageError, match=r"'sv'.*English-only.*en"):
        ModelRunner(tiny_whisper(n_vocab=51864), DecodingOptions(language="sv"), 2)


@pytest.mark.parametrize("max_tokens", [0, 448])
def test_a_token_limit_beyond_the_context_is_refused(max_tokens: int) -> None:
    with pytest.raises(ValueError, match="room for 1 to 447"):
        ModelRunner(tiny_whisper(), DecodingOptions(max_tokens=max_tokens), 2)
