"""One model on one device: encode windows, admit them to decoding slots, step all slots at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from whisper.model import ModelDimensions, Whisper
from whisper.tokenizer import Tokenizer, get_tokenizer

from aircheck.inference.whisper.decoding.decoder import LENGTH_MULTIPLE, StepDecoder
from aircheck.inference.whisper.decoding.encoder import WindowEncoder
from aircheck.inference.whisper.decoding.kv_cache import KVCache
from aircheck.inference.whisper.decoding.options import DecodedWindow, DecodingOptions, Word, verified_language
from aircheck.inference.whisper.decoding.token_rules import DETECT, SlotState, TokenRules
from aircheck.inference.whisper.decoding.word_timestamps import align


@dataclass(frozen=True)
class EncodedWindow:
    """What the decoder looks up in a window's audio: keys and values [layer, 2, head, n_audio_ctx, D].

    ready : passed when they have been computed; None where they are there already
    """

    cross_kv: Tensor
    ready: torch.cuda.Event | None = None


@dataclass(frozen=True)
class StepReport:
    """What a step chose, [6, n] (`TokenRules.choose`).

    copied : passed when it has reached the host; None where it is there already
    """

    chosen: Tensor
    copied: torch.cuda.Event | None = None

    def rows(self) -> list[list[float]]:
        """Per slot: token, sum of log-probabilities, no-speech probability, language, detected one, its probability."""
        if self.copied is not None:
            self.copied.synchronize()
        return self.chosen.T.tolist()


class Encoder(Protocol):
    def encode(self, log_mels: Tensor) -> Tensor:
        """fp32 [B, n_mels, frames] -> audio features [B, n_audio_ctx, n_state]"""


def round_up(n: int, multiple: int) -> int:
    return -(-n // multiple) * multiple


def n_positions(dims: ModelDimensions, n_tokens: int) -> int:
    """Text positions of a slot that has room for so many tokens."""
    return min(round_up(n_tokens, LENGTH_MULTIPLE), dims.n_text_ctx)


class ModelRunner:
    """A model with a fixed number of decoding slots, their KV cache and token rules."""

    lag = 0  # steps that the host may run ahead of their reports; none where a step is over when it returns
    encode_ahead = 0  # windows for which there is no slot yet, but which are encoded all the same
    encode_batch = 1  # windows encoded at once: on a CPU two together take as long as one after the other

    def __init__(
        self,
        model: Whisper,
        options: DecodingOptions,
        n_slots: int,
        encoder: Encoder | None = None,
        decoder: StepDecoder | None = None,
    ) -> None:
        """encoder, decoder: instead of the model's own.

        Raises UnsupportedLanguageError; ValueError for a token limit that the model has no room for."""
        language = verified_language(model, options.language)
        dims, self.device = model.dims, model.device
        self.options = options
        self.n_slots = n_slots
        self.tokenizer: Tokenizer = get_tokenizer(
            model.is_multilingual, num_languages=model.num_languages, language=language, task="transcribe"
        )
        self.n_prompt = len(self.tokenizer.sot_sequence)
        self.max_tokens = dims.n_text_ctx // 2 if options.max_tokens is None else options.max_tokens
        if not 1 <= self.max_tokens <= dims.n_text_ctx - self.n_prompt:
            raise ValueError(
                f"max_tokens is {self.max_tokens}; the model has room for 1 to {dims.n_text_ctx - self.n_prompt}"
            )
        self._n_positions = n_positions(dims, self.n_prompt + self.max_tokens)
        self._dtype: torch.dtype = model.decoder.token_embedding.weight.dtype
        self._model = model
        self.is_multilingual = model.is_multilingual
        self._encoder = encoder or WindowEncoder(model.encoder)
        self._decoder = decoder or StepDecoder(model.decoder)
        self._cache = KVCache(dims, n_slots, self._n_positions, self._dtype, self.device)
        self._state = SlotState.create(n_slots, self.device)
        self._rules = TokenRules(
            self.tokenizer,
            n_vocab=dims.n_vocab,
            n_audio_ctx=dims.n_audio_ctx,
            n_positions=self._n_positions,
            max_initial_timestamp_s=options.max_initial_timestamp_s,
            is_multilingual=model.is_multilingual,
            seed=options.seed,
            device=self.device,
        )
        codes = zip(self.tokenizer.all_language_codes, self.tokenizer.all_language_tokens, strict=True)
        self._language_tokens = dict(codes)
        self._languages = dict(zip(self.tokenizer.all_language_tokens, self.tokenizer.all_language_codes, strict=True))

    def language(self, token: int) -> str:
        """ISO 639-1 code of a language token; an English-only model has none, and its texts are English."""
        return self._languages[token] if self._model.is_multilingual else "en"

    def _language_token(self, code: str | None) -> int:
        code = code or self.options.language
        return DETECT if code is None else self._language_tokens.get(code, DETECT)

    def encode(self, log_mels: Sequence[np.ndarray | Tensor]) -> list[EncodedWindow]:
        """Log-mels [n_mels, 3000] to what the decoder looks up."""
        return [self._encoded(torch.as_tensor(log_mel)[None]) for log_mel in log_mels]

    def _encoded(self, log_mel: Tensor) -> EncodedWindow:
        return EncodedWindow(self._decoder.cross_kv(self._encoder.encode(log_mel.to(self.device))[0]))

    def admit(self, slot: int, window: EncodedWindow) -> None:
        """Put a window into a slot; `start` lets it begin."""
        self._cache.fill(slot, window.cross_kv)

    def start(self, slots: Sequence[int], temperatures: Sequence[float], languages: Sequence[str | None]) -> None:
        """Let the windows in these slots begin their texts, or begin them anew.

        languages : ISO 639-1 codes; None is the options' language, or detected
        """
        for slot in slots:
            self._cache.clear(slot)
        self._rules.start(self._state, slots, temperatures, [self._language_token(code) for code in languages])

    def move(self, source: int, target: int, length: int) -> None:
        """Let a window that has been fed `length` tokens go on in another slot."""
        self._cache.move(source, target, length)
        self._state.move(source, target)

    def step(self, positions: Sequence[int], sampling: Sequence[int]) -> StepReport:
        """Feed the first slots their last tokens and choose the next ones.

        positions : of those tokens, one for each slot in use; sampling : the slots above temperature 0
        """
        n = len(positions)
        starting = [slot for slot, position in enumerate(positions) if position == 0]
        logits = self._decoder.step(
            self._state.tokens[:n],
            self._state.positions[:n],
            self._cache,
            min(round_up(max(positions) + 1, LENGTH_MULTIPLE), self._n_positions),
        )
        return StepReport(self._rules.choose(logits, self._state, self._index(starting), self._index(sampling)))

    def words(
        self, slots: Sequence[int], windows: Sequence[DecodedWindow], durations_s: Sequence[float]
    ) -> list[tuple[Word, ...]]:
        """When each word of these slots' texts is spoken; one window at a time, so that none depends on another."""
        return [
            align(self._model, self.tokenizer, self._cache.cross_kv[:, :, slot : slot + 1], [window], [duration_s])[0]
            for slot, window, duration_s in zip(slots, windows, durations_s, strict=True)
        ]

    def _index(self, slots: Sequence[int]) -> Tensor | None:
        return torch.tensor(slots, device=self.device) if slots else None
