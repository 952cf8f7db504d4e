"""When each word is spoken, by openai-whisper's cross-attention alignment (whisper/timing.py), many windows at once.

The decoder reads the finished text once more; the attention of its alignment heads says which audio each token came
from, and dynamic time warping makes that a monotonic path. openai-whisper encodes the audio again for it, one window at
a time; here its keys and values are still in the slots. What the device computes of it is asked for without waiting
(`WordAligner`); the rest is the host's, on whichever thread (`TextAlignment.words`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numba
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from whisper.audio import FRAMES_PER_SECOND, TOKENS_PER_SECOND
from whisper.model import ResidualAttentionBlock, Whisper
from whisper.timing import WordTiming, dtw_cpu, merge_punctuations
from whisper.tokenizer import Tokenizer, get_tokenizer

from aircheck.inference.whisper.decoding.layers import attention, attention_scores, layer_norm, split_heads
from aircheck.inference.whisper.decoding.options import DecodedWindow, Word
from aircheck.inference.whisper.decoding.token_rules import to_device

_MEDIAN_FILTER_WIDTH = 7
_PREPENDED, _APPENDED = "\"'“¿([{-", "\"'.。,，!！?？:：”)]}、"
_SENTENCE_ENDS = ".。!！?？"
_LONGEST_MEDIAN_S = 0.7

# openai-whisper's own function; other threads go on beside it, which its compiled form holds up
_dtw = numba.njit(nogil=True)(dtw_cpu.py_func)


def warm_up() -> None:
    """Compiles the time warping, which takes a second, so that the first window need not wait for it."""
    _dtw(np.zeros((2, 2)))


@dataclass(frozen=True)
class TextAlignment:
    """Which audio each token of a window's text came from: what `words` needs.

    tokenizer : of the text's language
    text : its tokens, without timestamps
    probabilities : of the tokens, each given those before it, fp32 [n_text]
    matrix : how much each token, and the end of the text, came from each frame of 20 ms, fp32 [n_text + 1, n_frames]
    """

    tokenizer: Tokenizer
    text: list[int]
    probabilities: Tensor
    matrix: Tensor

    def words(self) -> tuple[Word, ...]:
        """On the host, with both tensors there: dynamic time warping, and how the tokens make words."""
        path = _dtw(-self.matrix.double().numpy())
        return _words(self.tokenizer, self.text, self.probabilities.tolist(), *path)


class WordAligner:
    """Reads finished texts again, with the model's decoder. Nothing here waits for the device."""

    def __init__(self, model: Whisper, tokenizer: Tokenizer, device: torch.device) -> None:
        """tokenizer : of any language that the model knows"""
        self._model, self._tokenizer, self._device = model, tokenizer, device
        mask = model.alignment_heads.to_dense().cpu()  # bool [layer, head]
        self._heads = [layer.nonzero().flatten().to(device) for layer in mask]

    def align(
        self, cross_kv: Tensor, slots: Sequence[int], windows: Sequence[DecodedWindow], durations_s: Sequence[float]
    ) -> list[TextAlignment]:
        """The alignment of each slot's window, which has text (`has_text`), on the device.

        cross_kv : keys and values of all slots' audio, [layer, 2, slot, head, n_audio_ctx, D]
        """
        eot = self._tokenizer.eot
        texts = [self._text(window) for window in windows]
        tokenizers = [self._of_language(window.language) for window in windows]
        prompts = [[*tokenizer.sot_sequence, tokenizer.no_timestamps] for tokenizer in tokenizers]
        longest = max(len(prompt) + len(text) for prompt, text in zip(prompts, texts, strict=True)) + 1
        lines = [[*prompt, *text] for prompt, text in zip(prompts, texts, strict=True)]
        padded = to_device([line + [eot] * (longest - len(line)) for line in lines], self._device)
        logits, scores = self._read(padded, cross_kv[:, :, to_device(slots, self._device)])
        alignments = []
        for row, (tokenizer, text, prompt) in enumerate(zip(tokenizers, texts, prompts, strict=True)):
            begin, end = len(prompt), len(prompt) + len(text)
            # what stands before a token predicts it
            predicted = logits[row, begin - 1 : end - 1, :eot].softmax(dim=-1)
            probabilities = predicted.gather(1, padded[row, begin:end, None])[:, 0]
            n_frames = max(1, round(durations_s[row] * FRAMES_PER_SECOND) // 2)
            matrix = _alignment(scores[:, row, : end + 1, :n_frames])[begin - 1 : -1]
            alignments.append(TextAlignment(tokenizer, text, probabilities, matrix))
        return alignments

    def has_text(self, window: DecodedWindow, duration_s: float) -> bool:
        return duration_s > 0 and bool(self._text(window))

    def _text(self, window: DecodedWindow) -> list[int]:
        return [token for token in window.tokens if token < self._tokenizer.eot]

    def _read(self, tokens: Tensor, cross_kv: Tensor) -> tuple[Tensor, Tensor]:
        """Teacher-forced decoder. tokens: [n, T] -> fp32 logits [n, T, n_vocab], fp32 scores of the alignment heads
        [heads, n, T, n_audio_ctx].
        """
        decoder, table = self._model.decoder, self._model.decoder.token_embedding.weight
        x = (F.embedding(tokens, table) + decoder.positional_embedding[: tokens.shape[1]]).to(table.dtype)
        scores = []
        for heads, block, (keys, values) in zip(self._heads, decoder.blocks, cross_kv, strict=True):
            x = x + _self_attention(block, layer_norm(block.attn_ln, x))
            query = split_heads(block.cross_attn.query(layer_norm(block.cross_attn_ln, x)), block.cross_attn.n_head)
            weights = attention_scores(query, keys).float()  # [n, head, T, n_audio_ctx]
            scores.append(weights[:, heads].transpose(0, 1))
            mixed = weights.softmax(dim=-1).to(values.dtype) @ values
            x = x + block.cross_attn.out(mixed.transpose(1, 2).flatten(2))
            x = x + block.mlp(layer_norm(block.mlp_ln, x))
        return F.linear(layer_norm(decoder.ln, x), table).float(), torch.cat(scores)

    def _of_language(self, language: str) -> Tokenizer:
        model = self._model
        if not model.is_multilingual:
            return self._tokenizer
        return get_tokenizer(True, num_languages=model.num_languages, language=language, task="transcribe")


def _self_attention(block: ResidualAttentionBlock, x: Tensor) -> Tensor:
    attn = block.attn
    query, key, value = (split_heads(part(x), attn.n_head) for part in (attn.query, attn.key, attn.value))
    return attn.out(attention(query, key, value, is_causal=True))


def _alignment(scores: Tensor) -> Tensor:
    """[heads, T, frames] -> [T, frames]: how much each token came from each frame, the heads' habits taken out."""
    weights = scores.softmax(dim=-1)
    std, mean = torch.std_mean(weights, dim=-2, keepdim=True, unbiased=False)
    # head by head: the windows of all of them are seven times the weights
    return torch.stack([_median_filter(head) for head in (weights - mean) / std]).mean(dim=0)


def _median_filter(x: Tensor) -> Tensor:
    """`whisper.timing.median_filter` along the frames of [T, frames], without its kernel that wants a C compiler."""
    if x.shape[-1] <= _MEDIAN_FILTER_WIDTH // 2:
        return x
    half = _MEDIAN_FILTER_WIDTH // 2
    windows = F.pad(x[None], (half, half), mode="reflect")[0].unfold(-1, _MEDIAN_FILTER_WIDTH, 1)
    return windows.sort()[0][..., half]


def _words(
    tokenizer: Tokenizer, text: list[int], probabilities: list[float], tokens: np.ndarray, frames: np.ndarray
) -> tuple[Word, ...]:
    """tokens, frames: the path through the alignment, as indices of both."""
    texts, word_ids = tokenizer.split_to_word_tokens([*text, tokenizer.eot])
    if len(word_ids) <= 1:
        return ()
    boundaries = np.pad(np.cumsum([len(t) for t in word_ids[:-1]]), (1, 0))
    begins = np.pad(np.diff(tokens), (1, 0), constant_values=1).astype(bool)
    times_s = frames[begins] / TOKENS_PER_SECOND
    timings = [
        WordTiming(word, word_tokens, times_s[first], times_s[last], float(np.mean(probabilities[first:last])))
        for word, word_tokens, first, last in zip(texts, word_ids, boundaries[:-1], boundaries[1:], strict=False)
    ]
    _shorten(timings)
    merge_punctuations(timings, _PREPENDED, _APPENDED)
    return tuple(
        Word(t.word, round(float(t.start), 2), round(float(t.end), 2), min(1.0, t.probability), len(t.tokens))
        for t in timings
        if t.word
    )


def _shorten(timings: list[WordTiming]) -> None:
    """Words beside a sentence's end last at most twice the median: the pause is none of theirs."""
    durations_s = np.array([timing.end - timing.start for timing in timings])
    durations_s = durations_s[durations_s.nonzero()]
    if not len(durations_s):
        return
    longest_s = 2 * min(_LONGEST_MEDIAN_S, float(np.median(durations_s)))
    for before, timing in pairwise(timings):
        if timing.end - timing.start > longest_s:
            if timing.word in _SENTENCE_ENDS:
                timing.end = timing.start + longest_s
            elif before.word in _SENTENCE_ENDS:
                timing.start = timing.end - longest_s
