"""When each word is spoken, by openai-whisper's cross-attention alignment (whisper/timing.py), many windows at once.

The decoder reads the finished text once more; the attention of its alignment heads says which audio each token came
from, and dynamic time warping makes that a monotonic path. openai-whisper encodes the audio again for it, one window at
a time; here its keys and values are still in the slots.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from whisper.audio import FRAMES_PER_SECOND, TOKENS_PER_SECOND
from whisper.model import ResidualAttentionBlock, Whisper
from whisper.timing import WordTiming, dtw, median_filter, merge_punctuations
from whisper.tokenizer import Tokenizer, get_tokenizer

from aircheck.inference.whisper.decoding.layers import attention, attention_scores, layer_norm, split_heads
from aircheck.inference.whisper.decoding.options import DecodedWindow, Word

_MEDIAN_FILTER_WIDTH = 7
_PREPENDED, _APPENDED = "\"'“¿([{-", "\"'.。,，!！?？:：”)]}、"
_SENTENCE_ENDS = ".。!！?？"
_LONGEST_MEDIAN_S = 0.7


def align(
    model: Whisper,
    tokenizer: Tokenizer,
    cross_kv: Tensor,
    windows: Sequence[DecodedWindow],
    durations_s: Sequence[float],
) -> list[tuple[Word, ...]]:
    """The words of each window's text, in order; none for a window without text.

    cross_kv : keys and values of the n windows' audio, [layer, 2, n, head, n_audio_ctx, D]
    """
    words: list[tuple[Word, ...]] = [() for _ in windows]
    texts = [[token for token in window.tokens if token < tokenizer.eot] for window in windows]
    rows = [row for row, text in enumerate(texts) if text and durations_s[row] > 0]
    if not rows:
        return words
    tokenizers = [_of_language(model, tokenizer, windows[row].language) for row in rows]
    prompts = [[*of_row.sot_sequence, of_row.no_timestamps] for of_row in tokenizers]
    tokens = [[*prompt, *texts[row], tokenizer.eot] for prompt, row in zip(prompts, rows, strict=True)]
    longest = max(map(len, tokens))
    padded = torch.tensor([line + [tokenizer.eot] * (longest - len(line)) for line in tokens], device=cross_kv.device)
    logits, attention = _read(model, padded, cross_kv[:, :, rows])
    for at, row in enumerate(rows):
        n_prompt, n_text, n_frames = len(prompts[at]), len(texts[row]), round(durations_s[row] * FRAMES_PER_SECOND)
        # what stands before a token predicts it
        predicted = logits[at, n_prompt - 1 : n_prompt - 1 + n_text, : tokenizer.eot].softmax(dim=-1)
        probabilities = predicted[torch.arange(n_text), texts[row]].tolist()
        weights = attention[:, at, : len(tokens[at]), : max(1, n_frames // 2)]
        matrix = _alignment(weights)[n_prompt - 1 : -1]
        words[row] = _words(tokenizers[at], texts[row], probabilities, *dtw(-matrix.double()))
    return words


def _read(model: Whisper, tokens: Tensor, cross_kv: Tensor) -> tuple[Tensor, Tensor]:
    """Teacher-forced decoder. tokens: [n, T] -> fp32 logits [n, T, n_vocab], fp32 scores of the alignment heads
    [heads, n, T, n_audio_ctx].
    """
    decoder, table = model.decoder, model.decoder.token_embedding.weight
    wanted = model.alignment_heads.to_dense().to(tokens.device)  # bool [layer, head]
    x = (F.embedding(tokens, table) + decoder.positional_embedding[: tokens.shape[1]]).to(table.dtype)
    scores = []
    for index, block in enumerate(decoder.blocks):
        x = x + _self_attention(block, layer_norm(block.attn_ln, x))
        query = split_heads(block.cross_attn.query(layer_norm(block.cross_attn_ln, x)), block.cross_attn.n_head)
        keys, values = cross_kv[index]
        weights = attention_scores(query, keys).float()  # [n, head, T, n_audio_ctx]
        scores.append(weights[:, wanted[index]].transpose(0, 1))
        mixed = weights.softmax(dim=-1).to(values.dtype) @ values
        x = x + block.cross_attn.out(mixed.transpose(1, 2).flatten(2))
        x = x + block.mlp(layer_norm(block.mlp_ln, x))
    return F.linear(layer_norm(decoder.ln, x), table).float(), torch.cat(scores)


def _self_attention(block: ResidualAttentionBlock, x: Tensor) -> Tensor:
    attn = block.attn
    query, key, value = (split_heads(part(x), attn.n_head) for part in (attn.query, attn.key, attn.value))
    return attn.out(attention(query, key, value, is_causal=True))


def _alignment(scores: Tensor) -> Tensor:
    """[heads, T, frames] -> [T, frames]: how much each token came from each frame, the heads' habits taken out."""
    weights = scores.softmax(dim=-1)
    std, mean = torch.std_mean(weights, dim=-2, keepdim=True, unbiased=False)
    return median_filter((weights - mean) / std, _MEDIAN_FILTER_WIDTH).mean(dim=0)


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


def _of_language(model: Whisper, tokenizer: Tokenizer, language: str) -> Tokenizer:
    if not model.is_multilingual:
        return tokenizer
    return get_tokenizer(True, num_languages=model.num_languages, language=language, task="transcribe")
