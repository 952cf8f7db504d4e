"""Our decoding against openai-whisper's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import whisper
from torch import Tensor
from whisper.model import Whisper

from aircheck.inference.whisper.cached_decoder import CachedDecoder
from aircheck.inference.whisper.checkpoint import LoadedWhisper
from aircheck.inference.whisper.decoding import DecodedWindow, DecodingOptions, UnsupportedLanguageError, WindowDecoder
from support.whisper_models import log_mel


def reference(model: Whisper, log_mels: Tensor, **options: object) -> list[whisper.DecodingResult]:
    return whisper.decode(model, log_mels, whisper.DecodingOptions(temperature=0, fp16=False, **options))


def assert_same(ours: DecodedWindow, theirs: whisper.DecodingResult) -> None:
    assert list(ours.tokens) == theirs.tokens
    assert ours.language == theirs.language
    assert ours.avg_logprob == pytest.approx(theirs.avg_logprob, abs=1e-4)
    assert ours.no_speech_prob == pytest.approx(theirs.no_speech_prob, abs=1e-5)


@torch.inference_mode()
def test_tokens_are_openai_whispers_whatever_else_is_in_the_batch(embedded: LoadedWhisper, windows: Tensor) -> None:
    model = embedded.model
    expected = [reference(model, window[None], language="en")[0] for window in windows]
    decoder = WindowDecoder(model, DecodingOptions())
    features = model.encoder(windows)
    order = np.random.default_rng(1).permutation(len(windows))
    for batch in (order, order[:3], order[3:]):
        for row, window in zip(batch, decoder.decode(features[batch]), strict=True):
            assert_same(window, expected[row])
    lengths = {len(result.tokens) for result in expected}
    assert len(lengths) > 3, "rows must end at different steps for this test to mean anything"


@torch.inference_mode()
@pytest.mark.parametrize("language", [None, "de"])
def test_multilingual_tokens_are_openai_whispers(
    multilingual: Whisper, sounds: list[np.ndarray], language: str | None
) -> None:
    log_mels = torch.stack([log_mel(sound, multilingual.dims.n_mels) for sound in sounds[1:4]])
    expected = reference(multilingual, log_mels, language=language)
    decoder = WindowDecoder(multilingual, DecodingOptions(language=language))
    for window, result in zip(decoder.decode(multilingual.encoder(log_mels)), expected, strict=True):
        assert_same(window, result)
    if language is None:
        assert {result.language for result in expected} != {"en"}


@torch.inference_mode()
def test_a_limit_on_tokens_is_openai_whispers_sample_len(embedded: LoadedWhisper, windows: Tensor) -> None:
    expected = reference(embedded.model, windows[:3], language="en", sample_len=7)
    ours = WindowDecoder(embedded.model, DecodingOptions(max_tokens=7)).decode(embedded.model.encoder(windows[:3]))
    for window, result in zip(ours, expected, strict=True):
        assert_same(window, result)


def assert_near(logits: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(logits, expected, rtol=1e-3, atol=1e-3)  # logits reach tens; sharp attention adds noise


@torch.inference_mode()
def test_cached_steps_equal_a_full_forward_pass_even_after_rows_moved(multilingual: Whisper) -> None:
    rng = torch.Generator().manual_seed(0)
    features = torch.randn(5, 1500, multilingual.dims.n_text_state, generator=rng)
    tokens = torch.randint(0, 50_000, (5, 9), generator=rng)
    full = multilingual.decoder(tokens, features)

    decoder = CachedDecoder(multilingual.decoder)
    cache = decoder.start(features)
    assert_near(decoder.logits(decoder.step(tokens[:, :1], cache)), full[:, :1])
    assert_near(decoder.logits(decoder.step(tokens[:, 1:4], cache)), full[:, 1:4])
    slots = torch.tensor([0, 4, 2])  # rows 1 and 3 have ended; row 4 takes a free place
    cache.keep(slots)
    for position in range(4, 9):
        logits = decoder.logits(decoder.step(tokens[slots, position : position + 1], cache))
        assert_near(logits[:, 0], full[slots, position])


def test_a_language_the_model_lacks_is_refused(embedded: LoadedWhisper) -> None:
    with pytest.raises(UnsupportedLanguageError, match=r"'sv'.*English-only.*en"):
        WindowDecoder(embedded.model, DecodingOptions(language="sv"))


@pytest.mark.parametrize("max_tokens", [0, 448])
def test_a_token_limit_beyond_the_context_is_refused(embedded: LoadedWhisper, max_tokens: int) -> None:
    with pytest.raises(ValueError, match="room for 1 to 447"):
        WindowDecoder(embedded.model, DecodingOptions(max_tokens=max_tokens))
