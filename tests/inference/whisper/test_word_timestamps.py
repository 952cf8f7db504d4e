"""Word timestamps against openai-whisper's alignment."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from whisper.model import Whisper
from whisper.timing import find_alignment, merge_punctuations
from whisper.tokenizer import get_tokenizer

from aircheck.inference.whisper.decoding.options import DecodedPass, DecodedWindow
from aircheck.inference.whisper.decoding.segments import transcript
from aircheck.inference.whisper.scheduling.sequence import Window
from aircheck.inference.whisper.weights.checkpoint import LoadedWhisper
from support.audio import RATE_HZ
from support.whisper_models import log_mel, scheduler


def with_words(model: Whisper, sounds: list[np.ndarray], **options: object) -> tuple[list[DecodedWindow], list[Tensor]]:
    log_mels = [log_mel(sound, model.dims.n_mels) for sound in sounds]
    lines = [Window(mel, len(sound) / RATE_HZ) for mel, sound in zip(log_mels, sounds, strict=True)]
    return scheduler(model, 2, word_timestamps=True, **options).decode(lines), log_mels


@torch.inference_mode()
def assert_as_openai_whisper(model: Whisper, window: DecodedWindow, mel: Tensor, n_samples: int) -> None:
    tokenizer = get_tokenizer(
        model.is_multilingual, num_languages=model.num_languages, language=window.language, task="transcribe"
    )
    text = [token for token in window.tokens if token < tokenizer.eot]
    expected = find_alignment(model, tokenizer, text, mel, round(n_samples / RATE_HZ * 100))
    merge_punctuations(expected, "\"'“¿([{-", "\"'.。,，!！?？:：”)]}、")
    expected = [timing for timing in expected if timing.word]
    assert [word.text for word in window.words] == [timing.word for timing in expected]
    assert [word.probability for word in window.words] == pytest.approx([t.probability for t in expected], abs=1e-3)
    # beside a sentence's end words may be shortened, as whisper.transcribe does
    pairs = list(zip(window.words, expected, strict=True))
    same = [abs(ours.start_s - w.start) < 0.03 and abs(ours.end_s - w.end) < 0.03 for ours, w in pairs]
    assert sum(same) >= 0.8 * len(same)


def test_words_are_aligned_as_openai_whisper_aligns_them(base: LoadedWhisper, sounds: list[np.ndarray]) -> None:
    windows, log_mels = with_words(base.model, sounds[:3])
    for window, mel, sound in zip(windows, log_mels, sounds, strict=False):
        assert_as_openai_whisper(base.model, window, mel, len(sound))
    assert sum(len(window.words) for window in windows) > 30
    assert all(a.end_s <= b.end_s for w in windows for a, b in zip(w.words, w.words[1:], strict=False))


def test_words_of_a_multilingual_model_are_cut_as_its_language_is(
    multilingual: Whisper, sounds: list[np.ndarray]
) -> None:
    windows, log_mels = with_words(multilingual, sounds[:2], language="ja", max_tokens=30)
    for window, mel, sound in zip(windows, log_mels, sounds, strict=False):
        assert_as_openai_whisper(multilingual, window, mel, len(sound))


def test_every_word_belongs_to_the_segment_that_says_it(base: LoadedWhisper, sounds: list[np.ndarray]) -> None:
    windows, _ = with_words(base.model, sounds[:3])
    n_segments = 0
    for window, sound in zip(windows, sounds, strict=False):
        for segment in transcript((DecodedPass(0.0, window),), base.tokenizer, len(sound) / RATE_HZ).segments:
            n_segments += 1
            assert "".join(word.text for word in segment.words).strip() == segment.text
    assert n_segments > 2
