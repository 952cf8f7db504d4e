"""Which token a slot may generate next, and which it does: openai-whisper's logit filters and token choice, vectorised.

The rules are `SuppressTokens`, `SuppressBlank`, `ApplyTimestampRules` and `GreedyDecoder` of whisper/decoding.py
(https://github.com/openai/whisper), which loops over the rows of a batch in Python. Here the vocabulary is cut into its
three regions, each is reduced to a maximum and a log-sum-exp a row, and the rules act on those [n] vectors.

    plain text [0, eot) | special [eot, timestamp_begin) | timestamps [timestamp_begin, n_vocab)

Nothing here waits for the device: what a slot generates is its next input without the host having seen it, which reads
a small report a step later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional as F
from whisper.audio import CHUNK_LENGTH
from whisper.tokenizer import Tokenizer

from aircheck.inference.whisper.decoding.sampling import gumbel_noise

NEG_INF = float("-inf")
_ROW_MULTIPLE = 4  # of fp32: 16 bytes
DETECT = -1
"""Instead of a language's token."""


@dataclass(frozen=True)
class SlotState:
    """What the rules remember of each slot; tensors of [n_slots].

    tokens : int64, the last one given or generated: the next step's input
    positions : int64, where in the text that token stands
    languages : int64, token of the language, given or detected; negative until it is detected
    detected, detected_probs : int64 and fp32, the likeliest language's token, whichever was given, and its probability
    temperatures : fp32
    last_is_timestamp, penultimate_is_timestamp : bool, of what was generated; both true before anything is
    latest_timestamps : int64, position in the timestamp region
    sum_logprobs : fp32, of the generated tokens
    no_speech_probs : fp32
    """

    tokens: Tensor
    positions: Tensor
    languages: Tensor
    detected: Tensor
    detected_probs: Tensor
    temperatures: Tensor
    last_is_timestamp: Tensor
    penultimate_is_timestamp: Tensor
    latest_timestamps: Tensor
    sum_logprobs: Tensor
    no_speech_probs: Tensor

    @classmethod
    def create(cls, n_slots: int, device: torch.device) -> SlotState:
        whole, flag = torch.int64, torch.bool
        dtypes = {
            "tokens": whole,
            "positions": whole,
            "languages": whole,
            "detected": whole,
            "last_is_timestamp": flag,
            "penultimate_is_timestamp": flag,
            "latest_timestamps": whole,
        }
        names = [field.name for field in fields(cls)]
        return cls(
            **{name: torch.zeros(n_slots, dtype=dtypes.get(name, torch.float32), device=device) for name in names}
        )

    def move(self, source: int, target: int) -> None:
        for field in fields(self):
            tensor: Tensor = getattr(self, field.name)
            tensor[target] = tensor[source]


class TokenRules:
    """Chooses tokens under openai-whisper's default decoding rules, with timestamps."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        n_vocab: int,
        n_audio_ctx: int,
        n_positions: int,
        max_initial_timestamp_s: float,
        is_multilingual: bool,
        seed: int,
        device: torch.device,
    ) -> None:
        """tokenizer: with the language of the prompt; n_positions: of the text cache, where slots stop counting."""
        self.eot: int = tokenizer.eot
        self.timestamp_begin: int = tokenizer.timestamp_begin
        self.n_prompt = len(tokenizer.sot_sequence)
        precision_s = CHUNK_LENGTH / n_audio_ctx  # 0.02 s
        self._n_timestamps = n_vocab - self.timestamp_begin
        self._latest_initial = round(max_initial_timestamp_s / precision_s)
        self._n_positions = n_positions
        self._no_speech: int = tokenizer.no_speech
        self._seed = seed
        self._suppressed = torch.tensor(suppressed_tokens(tokenizer), device=device)
        self._timestamps = torch.arange(self._n_timestamps, device=device)
        self._prompt = torch.tensor(tokenizer.sot_sequence, device=device)
        self._language_tokens = torch.tensor(tokenizer.all_language_tokens, device=device) if is_multilingual else None

    def start(
        self, state: SlotState, slots: Sequence[int], temperatures: Sequence[float], languages: Sequence[int]
    ) -> None:
        """Let these slots begin with the start-of-transcript token.

        languages : tokens; DETECT to transcribe in the likeliest one
        """
        device = state.tokens.device
        where = to_device(slots, device)
        state.tokens[where] = self._prompt[0]
        state.positions[where] = 0
        state.languages[where] = to_device(languages, device)
        state.temperatures[where] = to_device(temperatures, device)
        state.last_is_timestamp[where] = True
        state.penultimate_is_timestamp[where] = True
        state.latest_timestamps[where] = 0
        state.sum_logprobs[where] = 0

    def choose(
        self, logits: Tensor, state: SlotState, starting: Tensor | None = None, sampling: Tensor | None = None
    ) -> Tensor:
        """Choose the next token of the first n slots, after a decoder step on their last ones.

        logits : fp32 [n, n_vocab], overwritten
        starting : int64, a superset of the slots that are at the start token; None if there are none
        sampling : int64, a superset of the slots that are above temperature 0; None if there are none

        Updates the state and returns the step's report, fp32 [6, n]: token, sum of log-probabilities, no-speech
        probability, language token, the detected language's token and its probability of each slot (token ids are
        exact in fp32).
        """
        n = len(logits)
        positions, last, penultimate = state.positions[:n], state.last_is_timestamp, state.penultimate_is_timestamp
        if starting is not None:
            self._detect(logits, state, starting)
        logits.index_fill_(1, self._suppressed, NEG_INF)
        plain = logits[:, : self.eot]
        special = logits[:, self.eot : self.timestamp_begin]
        stamps = logits[:, self.timestamp_begin :]
        prompted, first = positions < self.n_prompt - 1, positions == self.n_prompt - 1

        # timestamps come in pairs, except directly before the end of text: after the second of a pair comes text,
        # after the first of a pair comes the second one or the end
        opened = last[:n] & penultimate[:n]
        closed = last[:n] & ~penultimate[:n]
        # timestamps do not decrease, and a segment has some length; every text begins with an early one, which leaves
        # nothing for `SuppressBlank` to do
        earliest = (state.latest_timestamps[:n] + ~closed).masked_fill(first, 0)
        latest = torch.where(opened, -1, self._n_timestamps - 1).masked_fill(first, self._latest_initial)
        stamps.masked_fill_((self._timestamps < earliest[:, None]) | (self._timestamps > latest[:, None]), NEG_INF)

        plain_best, plain_index = plain.max(dim=-1)
        plain_total = log_sum_exp(plain, plain_best)
        special_best, special_index = special.max(dim=-1)
        stamp_best, stamp_index = stamps.max(dim=-1)
        plain_best, plain_total = plain_best.masked_fill(closed, NEG_INF), plain_total.masked_fill(closed, NEG_INF)
        text_best = torch.maximum(plain_best, special_best)
        text_index = torch.where(plain_best >= special_best, plain_index, special_index + self.eot)
        text_total = torch.logaddexp(plain_total, log_sum_exp(special, special_best))
        stamp_total = log_sum_exp(stamps, stamp_best)

        # if timestamps together are likelier than any one other token, it is a timestamp
        is_timestamp = (stamp_total > text_best) | first
        tokens = torch.where(is_timestamp, stamp_index + self.timestamp_begin, text_index)
        best = torch.where(is_timestamp, stamp_best, text_best)
        total = torch.where(is_timestamp, stamp_total, torch.logaddexp(text_total, stamp_total))
        if sampling is not None:
            logits[:, : self.timestamp_begin].masked_fill_(is_timestamp[:, None], NEG_INF)
            plain.masked_fill_(closed[:, None], NEG_INF)
            self._sample(logits, state, sampling, tokens, best)
            is_timestamp = tokens >= self.timestamp_begin

        given = torch.where(
            positions == 0, state.languages[:n], self._prompt[(positions + 1).clamp_(max=self.n_prompt - 1)]
        )
        tokens = torch.where(prompted, given, tokens)
        state.tokens[:n] = tokens
        state.sum_logprobs[:n] += (best - total).masked_fill_(prompted, 0)
        penultimate[:n] = last[:n]
        last[:n] = is_timestamp | prompted
        state.latest_timestamps[:n] = torch.where(
            is_timestamp & ~prompted, tokens - self.timestamp_begin, state.latest_timestamps[:n]
        )
        positions.add_(1).clamp_(max=self._n_positions - 1)
        return torch.stack(
            [
                tokens.float(),
                state.sum_logprobs[:n],
                state.no_speech_probs[:n],
                state.languages[:n],
                state.detected[:n],
                state.detected_probs[:n],
            ]
        )

    def _detect(self, logits: Tensor, state: SlotState, slots: Tensor) -> None:
        """The logits of the start token hold the no-speech probability and the language."""
        at_start, first = state.positions[slots] == 0, logits[slots]
        no_speech = (first[:, self._no_speech] - log_sum_exp(first, first.amax(dim=-1))).exp_()
        state.no_speech_probs[slots] = torch.where(at_start, no_speech, state.no_speech_probs[slots])
        if self._language_tokens is not None:
            probability, index = first[:, self._language_tokens].softmax(dim=-1).max(dim=-1)
            detected, known = self._language_tokens[index], state.languages[slots]
            state.detected[slots] = torch.where(at_start, detected, state.detected[slots])
            state.detected_probs[slots] = torch.where(at_start, probability, state.detected_probs[slots])
            state.languages[slots] = torch.where(at_start & (known < 0), detected, known)

    def _sample(self, logits: Tensor, state: SlotState, slots: Tensor, tokens: Tensor, best: Tensor) -> None:
        """Draw from softmax(logits / temperature) by the Gumbel-max trick, for the slots above temperature 0.

        Overwrites `tokens` and the logits of the tokens chosen, `best`, both [n].
        """
        temperatures, allowed = state.temperatures[slots], logits[slots]
        noise = gumbel_noise(self._seed, state.positions[slots], temperatures, allowed.shape[-1])
        drawn = (allowed / temperatures.clamp(min=1e-3)[:, None] + noise).argmax(dim=-1)
        drawn = torch.where(temperatures > 0, drawn, tokens[slots])
        tokens[slots] = drawn
        best[slots] = allowed.gather(1, drawn[:, None])[:, 0]


def to_device(values: Sequence[float] | Sequence[Sequence[int]], device: torch.device) -> Tensor:
    """A tensor of the values; copied from pinned memory, so that the host does not wait for what the GPU is doing."""
    if device.type != "cuda":
        return torch.tensor(values)
    return torch.tensor(values, pin_memory=True).to(device, non_blocking=True)


def log_sum_exp(x: Tensor, largest: Tensor) -> Tensor:
    """log Σ exp x of each row, [n, m] -> [n], whose largest values are known; far below zero where all are -inf.

    What is less than the largest by 80 is nothing in fp32, but its exponential, a subnormal number, takes a CPU ten
    times as long as another.

    A GPU adds up a row from its first multiple of 16 bytes on. Rows are padded to such a length, lest the order of the
    sum, and with it its last digit, depend on the row.
    """
    largest = largest.clamp(min=-1e30)
    terms = (x - largest[:, None]).clamp_(min=-80)
    if terms.is_cuda:
        terms = F.pad(terms, (0, -terms.shape[-1] % _ROW_MULTIPLE), value=NEG_INF)
    return terms.exp_().sum(dim=-1).log_() + largest


def suppressed_tokens(tokenizer: Tokenizer) -> list[int]:
    """Token ids that are never generated: non-speech symbols (openai-whisper's list for `suppress_tokens="-1"`), the
    markers of the prompt, <|nospeech|> (its probability is read apart) and <|notimestamps|>.
    """
    markers = {
        tokenizer.transcribe,
        tokenizer.translate,
        tokenizer.sot,
        tokenizer.sot_prev,
        tokenizer.sot_lm,
        tokenizer.no_speech,
        tokenizer.no_timestamps,
    }
    return sorted(markers | set(tokenizer.non_speech_tokens))
