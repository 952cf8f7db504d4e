"""Which token a row may say next, and which it says: openai-whisper's logit filters and greedy choice, vectorised.

The rules are `SuppressTokens`, `SuppressBlank`, `ApplyTimestampRules` and `GreedyDecoder` of whisper/decoding.py
(https://github.com/openai/whisper), which loops over the rows of a batch in Python. Here the vocabulary is cut into its
three regions, each is reduced to a maximum and a log-sum-exp a row, and the rules act on those [B] vectors.

    plain text [0, eot) | special [eot, timestamp_begin) | timestamps [timestamp_begin, n_vocab)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from whisper.audio import CHUNK_LENGTH
from whisper.tokenizer import Tokenizer

NEG_INF = float("-inf")


@dataclass(frozen=True)
class Choice:
    """The next token of each row, [B], and its log-probability among the tokens allowed there, [B]."""

    tokens: Tensor
    logprobs: Tensor


@dataclass
class TimestampState:
    """What the timestamp rules remember of each row.

    last_is_timestamp, penultimate_is_timestamp : bool [B]; the penultimate of a single token counts as one
    latest_timestamp : int64 [B], position in the timestamp region
    """

    last_is_timestamp: Tensor
    penultimate_is_timestamp: Tensor
    latest_timestamp: Tensor

    def keep(self, rows: Tensor) -> TimestampState:
        """The state of these rows only, in this order."""
        return TimestampState(
            self.last_is_timestamp[rows], self.penultimate_is_timestamp[rows], self.latest_timestamp[rows]
        )


class TokenRules:
    """Chooses tokens under openai-whisper's default decoding rules, with timestamps."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        n_vocab: int,
        n_audio_ctx: int,
        max_initial_timestamp_s: float,
        device: torch.device,
    ) -> None:
        self.eot: int = tokenizer.eot
        self.timestamp_begin: int = tokenizer.timestamp_begin
        precision_s = CHUNK_LENGTH / n_audio_ctx  # 0.02 s
        self._n_initial_timestamps = round(max_initial_timestamp_s / precision_s) + 1
        suppressed = torch.zeros(n_vocab, device=device)
        suppressed[suppressed_tokens(tokenizer)] = NEG_INF
        self._suppressed = suppressed
        self._timestamps = torch.arange(n_vocab - self.timestamp_begin, device=device)

    def first(self, logits: Tensor) -> tuple[Choice, TimestampState]:
        """Every text begins with a timestamp no later than `max_initial_timestamp_s`. logits: [B, n_vocab] fp32.

        This leaves nothing for `SuppressBlank` to do: a blank or an immediate end of text is not a timestamp.
        """
        allowed = logits[:, self.timestamp_begin :][:, : self._n_initial_timestamps]
        best, index = allowed.max(dim=-1)
        choice = Choice(index + self.timestamp_begin, best - allowed.logsumexp(dim=-1))
        everywhere = torch.ones_like(index, dtype=torch.bool)
        return choice, TimestampState(everywhere, everywhere.clone(), index)

    def next(self, logits: Tensor, state: TimestampState) -> Choice:
        """The choice after one or more tokens; updates `state` with it. logits: [B, n_vocab] fp32, overwritten."""
        logits += self._suppressed
        plain = logits[:, : self.eot]
        special = logits[:, self.eot : self.timestamp_begin]
        stamps = logits[:, self.timestamp_begin :]

        # timestamps come in pairs, except directly before the end of text: after the second of a pair comes text,
        # after the first of a pair comes the second one or the end
        opened = state.last_is_timestamp & state.penultimate_is_timestamp
        closed = state.last_is_timestamp & ~state.penultimate_is_timestamp
        # timestamps do not decrease, and a segment has some length
        earliest = state.latest_timestamp + ~closed
        stamps.masked_fill_((self._timestamps < earliest[:, None]) | opened[:, None], NEG_INF)

        plain_best, plain_index = plain.max(dim=-1)
        special_best, special_index = special.max(dim=-1)
        stamp_best, stamp_index = stamps.max(dim=-1)
        plain_best = plain_best.masked_fill(closed, NEG_INF)
        plain_total = plain.logsumexp(dim=-1).masked_fill(closed, NEG_INF)
        text_best = torch.maximum(plain_best, special_best)
        text_index = torch.where(plain_best >= special_best, plain_index, special_index + self.eot)
        text_total = torch.logaddexp(plain_total, special.logsumexp(dim=-1))
        stamp_total = stamps.logsumexp(dim=-1)

        # if timestamps together are likelier than any one other token, it is a timestamp
        is_timestamp = stamp_total > text_best
        tokens = torch.where(is_timestamp, stamp_index + self.timestamp_begin, text_index)
        best = torch.where(is_timestamp, stamp_best, text_best)
        total = torch.where(is_timestamp, stamp_total, torch.logaddexp(text_total, stamp_total))

        state.penultimate_is_timestamp = state.last_is_timestamp
        state.last_is_timestamp = is_timestamp
        state.latest_timestamp = torch.where(is_timestamp, stamp_index, state.latest_timestamp)
        return Choice(tokens, best - total)


def suppressed_tokens(tokenizer: Tokenizer) -> list[int]:
    """Token ids that are never said: non-speech symbols (openai-whisper's list for `suppress_tokens="-1"`), the
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
