"""When a window's text is not to be believed, by openai-whisper's own tests (whisper/transcribe.py)."""

from __future__ import annotations

from collections.abc import Sequence

from whisper.tokenizer import Tokenizer
from whisper.utils import compression_ratio

from aircheck.inference.whisper.decoding.options import COMPRESSION_RATIO_THRESHOLD, LOGPROB_THRESHOLD, DecodedWindow

_MAX_PERIOD = 16  # tokens of a phrase that is repeated over and over
_MIN_REPEATED = 48  # tokens that a loop has taken before it is called one


def needs_fallback(window: DecodedWindow, tokenizer: Tokenizer) -> bool:
    """Whether to decode the window anew at the next temperature: its text repeats itself or is unlikely.

    A window without speech is not decoded anew, however unlikely its text: the text will not be used.
    """
    if window.is_silent:
        return False
    return window.avg_logprob < LOGPROB_THRESHOLD or ratio(window.tokens, tokenizer) > COMPRESSION_RATIO_THRESHOLD


def ratio(tokens: Sequence[int], tokenizer: Tokenizer) -> float:
    """zlib's compression ratio of the text; repetition loops exceed 2.4."""
    return float(compression_ratio(tokenizer.decode([t for t in tokens if t < tokenizer.eot]).strip()))


def is_loop(tokens: Sequence[int], tokenizer: Tokenizer) -> bool:
    """Whether the text has ended in a repetition loop that will fail the test of the compression ratio.

    True when the last tokens, timestamps left out, repeat one phrase and the ratio is exceeded already.
    """
    text = [token for token in tokens if token < tokenizer.eot]
    tail = text[-_MIN_REPEATED:]
    if len(tail) < _MIN_REPEATED:
        return False
    periodic = any(tail[period:] == tail[:-period] for period in range(1, _MAX_PERIOD + 1))
    return periodic and ratio(text, tokenizer) > COMPRESSION_RATIO_THRESHOLD
