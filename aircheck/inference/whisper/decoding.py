"""Greedy decoding with timestamps of many windows at once, token for token as `whisper.decode` at temperature 0."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from whisper.model import Whisper
from whisper.tokenizer import LANGUAGES, Tokenizer, get_tokenizer

from aircheck.inference.whisper.cached_decoder import CachedDecoder, DecoderCache
from aircheck.inference.whisper.token_rules import TokenRules


class UnsupportedLanguageError(ValueError):
    """The language asked for is not one that the checkpoint can transcribe."""


@dataclass(frozen=True)
class DecodingOptions:
    """How windows are decoded. What is not an option is openai-whisper's default for greedy decoding."""

    # ISO 639-1 code of the speech; None detects it in each window (an English-only model has nothing to detect)
    language: str | None = None

    # latest timestamp that a window's text may begin with, in seconds
    max_initial_timestamp_s: float = 1.0

    # most tokens said in a window; None is half the text context (224), the longest seen in training
    max_tokens: int | None = None


@dataclass(frozen=True)
class DecodedWindow:
    """What was decoded from one window, with `whisper.DecodingResult`'s meanings.

    tokens : sampled tokens, text and timestamps, without the prompt and the end of text
    avg_logprob : mean log-probability of the sampled tokens, the end of text included
    no_speech_prob : probability of <|nospeech|> in the first position
    """

    tokens: tuple[int, ...]
    language: str
    avg_logprob: float
    no_speech_prob: float


class WindowDecoder:
    """Decodes the encoded audio of windows with one model and one set of options."""

    def __init__(self, model: Whisper, options: DecodingOptions) -> None:
        """Raises UnsupportedLanguageError."""
        language = _verified_language(model, options.language)
        self.tokenizer: Tokenizer = get_tokenizer(
            model.is_multilingual, num_languages=model.num_languages, language=language, task="transcribe"
        )
        n_prompt = len(self.tokenizer.sot_sequence)
        n_text_ctx = model.dims.n_text_ctx
        self._max_tokens = n_text_ctx // 2 if options.max_tokens is None else options.max_tokens
        if not 1 <= self._max_tokens <= n_text_ctx - n_prompt:
            raise ValueError(f"max_tokens is {self._max_tokens}; the model has room for 1 to {n_text_ctx - n_prompt}")
        device = model.device
        self._decoder = CachedDecoder(model.decoder)
        self._rules = TokenRules(
            self.tokenizer,
            n_vocab=model.dims.n_vocab,
            n_audio_ctx=model.dims.n_audio_ctx,
            max_initial_timestamp_s=options.max_initial_timestamp_s,
            device=device,
        )
        self._detects_language = model.is_multilingual and language is None
        # an English-only tokenizer has no language tokens; its texts are English
        self._language = language or "en"
        self._language_tokens = torch.tensor(self.tokenizer.all_language_tokens, device=device)

    @torch.inference_mode()
    def decode(self, audio_features: Tensor) -> list[DecodedWindow]:
        """audio_features: [B, n_audio_ctx, n_state] -> one result a window, in the same order."""
        cache = self._decoder.start(audio_features)
        logits, no_speech_probs, languages = self._prompt(audio_features.shape[0], cache)
        tokens, sum_logprobs = self._sample(logits, cache)
        results = zip(tokens.tolist(), sum_logprobs.tolist(), no_speech_probs.tolist(), languages, strict=True)
        return [self._result(*result) for result in results]

    def _prompt(self, n_batch: int, cache: DecoderCache) -> tuple[Tensor, Tensor, list[str]]:
        """Feed the start-of-transcript sequence.

        Returns the logits of the first sampled token [B, n_vocab], the no-speech probabilities [B] and the languages.
        The start token goes alone: its logits hold both the no-speech probability and the language.
        """
        sot, *rest = self.tokenizer.sot_sequence
        device = self._language_tokens.device
        prompt = torch.tensor(rest, dtype=torch.long, device=device).repeat(n_batch, 1)
        logits = self._decoder.logits(self._decoder.step(prompt.new_full((n_batch, 1), sot), cache)[:, -1])
        no_speech_probs = logits.softmax(dim=-1)[:, self.tokenizer.no_speech]
        languages = [self._language] * n_batch
        if self._detects_language:
            index = logits[:, self._language_tokens].argmax(dim=-1)
            prompt[:, 0] = self._language_tokens[index]
            languages = [self.tokenizer.all_language_codes[i] for i in index.tolist()]
        if rest:
            logits = self._decoder.logits(self._decoder.step(prompt, cache)[:, -1])
        return logits, no_speech_probs, languages

    def _sample(self, logits: Tensor, cache: DecoderCache) -> tuple[Tensor, Tensor]:
        """Sample until every row ends: tokens [B, max_tokens] filled up with the end of text, log-probabilities [B]."""
        n_batch, eot = logits.shape[0], self._rules.eot
        tokens = torch.full((n_batch, self._max_tokens), eot, device=logits.device)
        sum_logprobs = torch.zeros(n_batch, device=logits.device)
        rows = torch.arange(n_batch, device=logits.device)  # which row of the batch each live slot decodes
        choice, state = self._rules.first(logits)
        for position in range(self._max_tokens):
            if position > 0:
                choice = self._rules.next(logits, state)
            tokens[rows, position] = choice.tokens
            sum_logprobs[rows] += choice.logprobs
            spoken, alive = choice.tokens, choice.tokens != eot
            if not bool(alive.all()):
                slots = _compacted(alive)
                cache.keep(slots)
                rows, spoken, state = rows[slots], spoken[slots], state.keep(slots)
            if len(rows) == 0 or position + 1 == self._max_tokens:
                break
            logits = self._decoder.logits(self._decoder.step(spoken[:, None], cache)[:, -1])
        return tokens, sum_logprobs

    def _result(self, tokens: list[int], sum_logprob: float, no_speech_prob: float, language: str) -> DecodedWindow:
        said = tokens[: tokens.index(self._rules.eot)] if self._rules.eot in tokens else tokens
        return DecodedWindow(tuple(said), language, sum_logprob / (len(said) + 1), no_speech_prob)


def _compacted(alive: Tensor) -> Tensor:
    """Slots of the live rows, arranged to fill the first places with the fewest moves: [5 live of 8] -> [5]."""
    live = alive.nonzero().flatten()
    n_live = len(live)
    slots = torch.arange(n_live, device=alive.device)
    slots[~alive[:n_live]] = live[live >= n_live]
    return slots


def _verified_language(model: Whisper, language: str | None) -> str | None:
    """The language, if the model can transcribe it. Raises UnsupportedLanguageError."""
    if language is None:
        return None
    known = list(LANGUAGES)[: model.num_languages] if model.is_multilingual else ["en"]
    if language not in known:
        kind = "multilingual" if model.is_multilingual else "English-only"
        raise UnsupportedLanguageError(
            f"language {language!r} is not one this {kind} Whisper model transcribes; "
            f"leave it unset or use one of: {', '.join(known)}"
        )
    return language
