"""Our decoding against openai-whisper's own, token for token."""

from __future__ import annotations

import copy
import random
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
from support.whisper_models import decoded, log_mel, scheduler
from training.whisper.evaluate import no_speech_windows

CLIPS = sorted((Path(__file__).parents[3] / "benchmarks" / "quality" / "data" / "audio").glob("*.opus"))


def reference(model: Whisper, log_mels: Tensor, **options: object) -> list[whisper.DecodingResult]:
    return whisper.decode(model, log_mels, whisper.DecodingOptions(temperature=0, fp16=False, **options))


def assert_same(ours: DecodedWindow, theirs: whisper.DecodingResult) -> None:
    assert list(ours.tokens) == theirs.tokens
    assert ours.language == theirs.language
    assert ours.avg_logprob == pytest.approx(theirs.avg_logprob, abs=1e-4)
    assert ours.no_speech_prob == pytest.approx(theirs.no_speech_prob, abs=1e-5)


@pytest.fixture(scope="module")
def varied_windows() -> Tensor:
    """204 windows: clips of speech, music and sounds; their beginnings, cut off anywhere; sounds without speech."""
    rng = random.Random(4)
    clips = [whisper.load_audio(str(path)) for path in CLIPS[:72]]
    cut = [clip[: rng.randrange(len(clip) // 4, len(clip))] for clip in clips]
    other = [window.samples for _, window in no_speech_windows(60)]
    return torch.stack([log_mel(samples) for samples in (*clips, *cut, *other)])


@torch.inference_mode()
def test_tokens_are_openai_whispers_on_200_windows_in_any_order_and_mixture(
    embedded: LoadedWhisper, varied_windows: Tensor
) -> None:
    model = embedded.model
    features = torch.cat([model.encoder(window) for window in varied_windows.split(1)])
    expected = [result for batch in features.split(34) for result in reference(model, batch, language="en")]
    lengths = [len(result.tokens) for result in expected]
    assert len(lengths) >= 200
    assert len(set(lengths)) > 20, "windows must end at different steps for this test to mean anything"
    assert sum(not result.text for result in expected) > 30
    order = np.random.default_rng(1).permutation(len(expected))
    with WhisperEngine(embedded, DecodingOptions(temperatures=(0.0,)), n_slots=7, threads=2) as engine:
        found = engine.decode([Window(varied_windows[row], 30.0) for row in order])
    for row, window in zip(order, found, strict=True):
        assert_same(window, expected[row])
    again = order[::-1][:16]
    for row, window in zip(again, decoded(model, varied_windows[again.copy()], n_slots=16), strict=True):
        assert_same(window, expected[row])


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
def test_a_limit_on_tokens_is_openai_whispers_sample_len(embedded: LoadedWhisper, windows: Tensor) -> None:
    expected = reference(embedded.model, windows[:3], language="en", sample_len=7)
    for window, result in zip(decoded(embedded.model, windows[:3], max_tokens=7), expected, strict=True):
        assert_same(window, result)
    limits = [3, None, 5]
    lines = [Window(log_mel, 30.0, max_tokens=limit) for log_mel, limit in zip(windows, limits, strict=False)]
    lengths = [len(window.tokens) for window in scheduler(embedded.model).decode(lines)]
    assert lengths == [3, len(reference(embedded.model, windows[1:2], language="en")[0].tokens), 5]


@torch.inference_mode()
def test_the_encoder_gives_openai_whispers_features(multilingual: Whisper, sounds: list[np.ndarray]) -> None:
    log_mels = torch.stack([log_mel(sound, multilingual.dims.n_mels) for sound in sounds[:3]])
    expected = multilingual.encoder(log_mels)
    ours = WindowEncoder(copy.deepcopy(multilingual).encoder).encode(log_mels)
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)


def test_a_language_the_model_lacks_is_refused(embedded: LoadedWhisper) -> None:
    with pytest.raises(UnsupportedLanguageError, match=r"'sv'.*English-only.*en"):
        ModelRunner(embedded.model, DecodingOptions(language="sv"), 2)


@pytest.mark.parametrize("max_tokens", [0, 448])
def test_a_token_limit_beyond_the_context_is_refused(embedded: LoadedWhisper, max_tokens: int) -> None:
    with pytest.raises(ValueError, match="room for 1 to 447"):
        ModelRunner(embedded.model, DecodingOptions(max_tokens=max_tokens), 2)
