"""The fallback to higher temperatures against `whisper.transcribe`'s."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import whisper
from torch import Tensor
from whisper.model import Whisper
from whisper.tokenizer import Tokenizer, get_tokenizer

from aircheck.inference.whisper.decoding.fallback import is_loop
from aircheck.inference.whisper.decoding.options import TEMPERATURES, DecodedWindow
from aircheck.inference.whisper.decoding.sampling import gumbel_noise
from aircheck.inference.whisper.weights.checkpoint import LoadedWhisper
from support.whisper_models import decoded

SEED = 5
MAX_TOKENS = 64
N_PROMPT = 3  # start, language, task: the last one's position draws the first token


class SeededCategorical:
    """`torch.distributions.Categorical` as openai-whisper uses it, drawing what our noise draws."""

    temperature = 0.0
    position = 0

    def __init__(self, logits: Tensor) -> None:
        self._logits = logits

    def sample(self) -> Tensor:
        kind = type(self)
        n, n_vocab = self._logits.shape
        at = torch.full((n,), kind.position), torch.full((n,), kind.temperature)
        kind.position += 1
        return (self._logits + gumbel_noise(SEED, *at, n_vocab)).argmax(dim=-1)


def chain(model: Whisper, features: Tensor, monkeypatch: pytest.MonkeyPatch) -> whisper.DecodingResult:
    """`decode_with_fallback` of whisper/transcribe.py, with our noise."""
    monkeypatch.setattr("whisper.decoding.Categorical", SeededCategorical)
    for temperature in TEMPERATURES:
        SeededCategorical.temperature, SeededCategorical.position = temperature, N_PROMPT - 1
        options = whisper.DecodingOptions(temperature=temperature, fp16=False, language="en", sample_len=MAX_TOKENS)
        result = whisper.decode(model, features, options)
        doubtful = result.compression_ratio > 2.4 or result.avg_logprob < -1.0
        if result.no_speech_prob > 0.6 and result.avg_logprob < -1.0:
            doubtful = False
        if not doubtful:
            break
    return result


@torch.inference_mode()
def test_each_window_falls_back_as_whisper_transcribe_does(
    base: LoadedWhisper, sounds: list[np.ndarray], windows: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(2)
    noisy = [sound + rng.normal(0, level, len(sound)) for sound in sounds[:1] for level in (0.03, 0.3)]
    hard = [whisper.log_mel_spectrogram(whisper.pad_or_trim(sound.astype(np.float32))) for sound in noisy]
    log_mels = torch.cat([windows[[0, 4]], torch.stack(hard)])
    expected = [chain(base.model, features, monkeypatch) for features in base.model.encoder(log_mels)]
    options = {"language": "en", "temperatures": TEMPERATURES, "seed": SEED, "max_tokens": MAX_TOKENS}
    ours = decoded(base.model, log_mels, 5, **options)
    for window, result in zip(ours, expected, strict=True):
        assert window.temperature == result.temperature
        assert list(window.tokens) == result.tokens
        assert window.avg_logprob == pytest.approx(result.avg_logprob, abs=1e-3)
    assert {window.temperature for window in ours} > {0.0}, "some window must fall back for this test to mean anything"


def test_what_is_drawn_depends_on_the_seed_and_not_on_the_batch(small: LoadedWhisper, windows: Tensor) -> None:
    def at_once(rows: list[int], n_slots: int, seed: int) -> list[DecodedWindow]:
        return decoded(small.model, windows[rows], n_slots, temperatures=(1.0,), seed=seed, max_tokens=40)

    together, apart = at_once([0, 1, 2, 3], 4, 1), [at_once([row], 1, 1)[0] for row in (0, 1, 2, 3)]
    assert [window.tokens for window in together] == [window.tokens for window in apart]
    assert [window.tokens for window in at_once([0, 1, 2, 3], 4, 2)] != [window.tokens for window in together]


def test_the_noise_draws_from_the_softmax() -> None:
    logits = torch.tensor([2.0, 1.0, 0.0, -1.0, float("-inf")])
    n = 20_000
    noise = gumbel_noise(3, torch.arange(n), torch.ones(n), 5)
    shares = torch.bincount((logits + noise).argmax(dim=-1), minlength=5) / n
    torch.testing.assert_close(shares, logits.softmax(dim=0), atol=0.015, rtol=0)


def test_a_repetition_is_a_loop_only_when_the_text_ends_in_it() -> None:
    tokenizer: Tokenizer = get_tokenizer(multilingual=False)
    plain = tokenizer.encode(" The old house at the end of the street has been sold twice since the war, they say.")
    phrase = tokenizer.encode(" and then he said")
    stamp = tokenizer.timestamp_begin + 50
    loop = [token for i in range(20) for token in (stamp + i, *phrase, stamp + i)]
    assert is_loop([*plain, *loop], tokenizer)
    assert not is_loop(plain * 2, tokenizer)
    assert not is_loop([*loop, *plain], tokenizer), "it got out of it"
    assert not is_loop(loop[:30], tokenizer), "too short to tell"
